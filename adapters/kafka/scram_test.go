package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// talk has a conversation of client with server.
func talk(t *testing.T, c *scramClient, server *scram.ServerConversation) error {
	t.Helper()
	must(t, c.Begin("", "", ""))
	answer, err := c.Step("")
	for !c.Done() && err == nil {
		var challenge string
		if challenge, err = server.Step(answer); err == nil {
			answer, err = c.Step(challenge)
		}
	}
	return err
}

// Both sides prove that they know the password.
func TestSCRAM(t *testing.T) {
	for mechanism, hash := range map[Mechanism]scram.HashGeneratorFcn{ScramSHA256: scram.SHA256, ScramSHA512: scram.SHA512} {
		t.Run(string(mechanism), func(t *testing.T) {
			stored := func(password string) scram.StoredCredentials {
				known, err := hash.NewClientUnprepped("billing", password, "")
				must(t, err)
				c, err := known.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
				must(t, err)
				return c
			}
			server := func(c scram.StoredCredentials) *scram.ServerConversation {
				s, err := hash.NewServer(func(user string) (scram.StoredCredentials, error) {
					if user != "billing" {
						return scram.StoredCredentials{}, fmt.Errorf("user %q", user)
					}
					return c, nil
				})
				must(t, err)
				return s.NewConversation()
			}
			c := &scramClient{sasl: &SASL{Mechanism: mechanism, User: "billing", Password: NewSecret(canary)}}
			right := stored(canary)
			must(t, talk(t, c, server(right)))
			if err := talk(t, c, server(stored("other"))); err == nil {
				t.Error("a wrong password passes")
			}
			// Whoever took what the server stores for a check, but not all of it, cannot play the server.
			right.ServerKey = stored("other").ServerKey
			err := talk(t, c, server(right))
			if err == nil || !strings.Contains(err.Error(), string(mechanism)+": ") {
				t.Errorf("a server that does not know the password passes: %v", err)
			} else {
				mustNotShow(t, "the error", err.Error())
			}
		})
	}
}

// A broker cannot have this program compute for hours, nor weaken what a listener learns.
func TestSCRAMIterations(t *testing.T) {
	for n, ok := range map[string]bool{"4095": false, "4096": true, "16384": true, "1000001": false, "4294967296": false, "99999999999999999999": false} {
		c := &scramClient{sasl: &SASL{User: "billing", Password: NewSecret(canary)}}
		must(t, c.Begin("", "", ""))
		first, err := c.Step("")
		must(t, err)
		_, nonce, _ := strings.Cut(first, ",r=")
		_, err = c.Step("r=" + nonce + "more,s=c2FsdA==,i=" + n)
		if (err == nil) != ok {
			t.Errorf("%s iterations: %v", n, err)
		}
	}
}
