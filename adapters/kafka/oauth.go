package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/IBM/sarama"
)

// bearer asks SASL.Token for the client.
type bearer struct{ sasl *SASL }

// What RFC 6750 and RFC 7628 allow. The client under this package puts the parts together unseen, so a byte 1 in one
// of them would begin another.
var (
	tokenForm     = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)
	extensionName = regexp.MustCompile(`^[A-Za-z]+$`)
	extensionForm = regexp.MustCompile(`^[\x21-\x7E \t\r\n]+$`)
)

// Token gets a token within Timeout.
func (b bearer) Token() (*sarama.AccessToken, error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.sasl.timeout())
	defer cancel()
	token, err := b.sasl.Token(ctx)
	if err == nil {
		err = token.wrong()
	}
	if err != nil {
		return nil, fmt.Errorf("token for OAUTHBEARER: %w", err)
	}
	return &sarama.AccessToken{Token: token.Value.Reveal(), Extensions: token.Extensions}, nil
}

func (t Token) wrong() error {
	value := t.Value.Reveal()
	if value == "" {
		return errors.New("Cluster.SASL.Token gave none, and no error")
	}
	if !tokenForm.MatchString(value) {
		return errors.New("it has characters that no token has: give it as it came, without \"Bearer\" and line breaks")
	}
	for name, v := range t.Extensions {
		if !extensionName.MatchString(name) || name == sarama.SASLExtKeyAuth || !extensionForm.MatchString(v) {
			return fmt.Errorf("extension %q cannot be sent: names are letters, but not %q, and values printable", name, sarama.SASLExtKeyAuth)
		}
	}
	return nil
}
