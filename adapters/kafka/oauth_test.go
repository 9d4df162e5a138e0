package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/IBM/sarama"
)

// oauthBroker takes OAUTHBEARER and nothing else. It answers a token with fault.
func oauthBroker(t *testing.T, fault sarama.KError) *sarama.MockBroker {
	t.Helper()
	b := sarama.NewMockBroker(t, 1)
	t.Cleanup(b.Close)
	b.SetHandlerByMap(map[string]sarama.MockResponse{
		"ApiVersionsRequest":      sarama.NewMockApiVersionsResponse(t).SetApiKeys(nil),
		"SaslHandshakeRequest":    sarama.NewMockSaslHandshakeResponse(t).SetEnabledMechanisms([]string{sarama.SASLTypeOAuth}),
		"SaslAuthenticateRequest": sarama.NewMockSaslAuthenticateResponse(t).SetError(fault),
		"MetadataRequest":         sarama.NewMockMetadataResponse(t).SetBroker(b.Addr(), b.BrokerID()),
	})
	return b
}

// shown is what the broker was shown.
func shown(b *sarama.MockBroker) (mechanism, text string) {
	for _, r := range b.History() {
		switch r := r.Request.(type) {
		case *sarama.SaslHandshakeRequest:
			mechanism = r.Mechanism
		case *sarama.SaslAuthenticateRequest:
			text = string(r.SaslAuthBytes)
		}
	}
	return mechanism, text
}

func TestOAuthBearer(t *testing.T) {
	b := oauthBroker(t, sarama.ErrNoError)
	calls := 0
	s := &SASL{TokenWithoutTLS: true, Token: func(context.Context) (Token, error) {
		calls++
		return Token{NewSecret("ey.J-a_~+/=="), map[string]string{"logicalCluster": "lkc-1", "identityPoolId": "pool-2"}}, nil
	}}
	must(t, greet([]string{b.Addr()}, client(t, nil, s)))
	mechanism, text := shown(b)
	if mechanism != "OAUTHBEARER" || text != "n,,\x01auth=Bearer ey.J-a_~+/==\x01identityPoolId=pool-2\x01logicalCluster=lkc-1\x01\x01" {
		t.Errorf("got %q %q", mechanism, text)
	}
	if calls != 1 {
		t.Errorf("asked %d times for one connection", calls)
	}
}

func TestOAuthBearerRefused(t *testing.T) {
	b := oauthBroker(t, sarama.ErrSASLAuthenticationFailed)
	s := &SASL{TokenWithoutTLS: true, Token: func(context.Context) (Token, error) { return Token{Value: NewSecret(canary)}, nil }}
	err := greet([]string{b.Addr()}, client(t, nil, s))
	if !errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
		t.Fatalf("got %v", err)
	}
	mustNotShow(t, "the error", err.Error())
	if _, text := shown(b); !strings.Contains(text, canary) {
		t.Errorf("the broker was shown %q", text)
	}
}

// What is no token is not sent; why not does not show it.
func TestOAuthBearerSendsTokensOnly(t *testing.T) {
	down := errors.New("authorization server is down")
	for name, c := range map[string]struct {
		token Token
		err   error
		want  string
	}{
		"error":           {Token{}, down, "authorization server is down"},
		"none":            {Token{}, nil, "gave none"},
		"line break":      {Token{Value: NewSecret(canary + "\n")}, nil, "characters"},
		"with its type":   {Token{Value: NewSecret("Bearer " + canary)}, nil, "characters"},
		"another field":   {Token{Value: NewSecret(canary + "\x01auth=Bearer x")}, nil, "characters"},
		"extension auth":  {Token{NewSecret(canary), map[string]string{"auth": "x"}}, nil, `extension "auth"`},
		"extension name":  {Token{NewSecret(canary), map[string]string{"a b": "x"}}, nil, `extension "a b"`},
		"extension value": {Token{NewSecret(canary), map[string]string{"a": "x\x01b=c"}}, nil, `extension "a"`},
		"extension empty": {Token{NewSecret(canary), map[string]string{"a": ""}}, nil, `extension "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			b := oauthBroker(t, sarama.ErrNoError)
			s := &SASL{TokenWithoutTLS: true, Token: func(context.Context) (Token, error) { return c.token, c.err }}
			err := greet([]string{b.Addr()}, client(t, nil, s))
			if err == nil || !strings.Contains(err.Error(), c.want) || c.err != nil && !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			mustNotShow(t, "the error", err.Error())
			if _, text := shown(b); text != "" {
				t.Errorf("the broker was shown %q", text)
			}
		})
	}
}
