package kafka

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// mostIterations bounds what a broker may have this program compute, a second or so. Kafka's own bound is 16384.
const mostIterations = 1_000_000

// scramClient proves to one broker, once, that it knows the password (RFC 5802), and sees that the broker
// knows it too.
type scramClient struct {
	sasl         *SASL
	conversation *scram.ClientConversation
}

var _ sarama.SCRAMClient = (*scramClient)(nil)

// Begin takes the credentials of now, and not what it is given: that is from the client's start. They are not
// normalised (SASLprep), since Kafka does not do so when it stores them.
func (c *scramClient) Begin(_, _, _ string) error {
	user, password, err := c.sasl.login()
	if err == nil {
		err = errors.Join(wrongLogin(user, password)...)
	}
	if err != nil {
		return fmt.Errorf("credentials for %s: %w", c.sasl.mechanism(), err)
	}
	hash := scram.HashGeneratorFcn(sha512.New)
	if c.sasl.mechanism() == ScramSHA256 {
		hash = sha256.New
	}
	client, err := hash.NewClientUnprepped(user, password.Reveal(), "")
	if err != nil {
		return fmt.Errorf("%s: %w", c.sasl.mechanism(), err)
	}
	c.conversation = client.NewConversation()
	return nil
}

var iterations = regexp.MustCompile(`(?:^|,)i=(\d+)`)

// Step answers the broker.
func (c *scramClient) Step(challenge string) (string, error) {
	if m := iterations.FindStringSubmatch(challenge); m != nil {
		if n, err := strconv.Atoi(m[1]); err != nil || n > mostIterations {
			return "", fmt.Errorf("%s: the broker asks for %s iterations, which is more than %d", c.sasl.mechanism(), m[1], mostIterations)
		}
	}
	answer, err := c.conversation.Step(challenge)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.sasl.mechanism(), err)
	}
	return answer, nil
}

// Done tells whether both know.
func (c *scramClient) Done() bool { return c.conversation.Done() }
