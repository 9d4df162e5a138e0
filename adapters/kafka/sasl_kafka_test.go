package kafka

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/internal/kafkatest"
)

// Real Kafka with every mechanism, over TLS with certificates on both sides.
func TestSASLOfKafka(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	file := func(name string, content ...[]byte) string {
		return write(t, filepath.Join(dir, name), bytes.Join(content, nil))
	}
	serverCert, serverKey := a.issue(t, "127.0.0.1")
	cert, key := a.issue(t)
	ports := freePorts(t, 3)
	open, secured := net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0])), net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[2]))
	const jaas = "org.apache.kafka.common.security."
	server := kafkatest.OwnWith(t, kafkatest.Options{Port: ports[0], Properties: map[string]string{
		"listeners":                      fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://127.0.0.1:%d,SECURED://%s", open, ports[1], secured),
		"advertised.listeners":           fmt.Sprintf("PLAINTEXT://%s,SECURED://%s", open, secured),
		"controller.quorum.voters":       fmt.Sprintf("1@127.0.0.1:%d", ports[1]),
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL",

		"listener.name.secured.ssl.keystore.type":       "PEM",
		"listener.name.secured.ssl.keystore.location":   file("server.pem", serverKey, serverCert),
		"listener.name.secured.ssl.truststore.type":     "PEM",
		"listener.name.secured.ssl.truststore.location": file("ca.pem", a.pem),
		"listener.name.secured.ssl.client.auth":         "required",

		"listener.name.secured.sasl.enabled.mechanisms":               "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"listener.name.secured.plain.sasl.jaas.config":                jaas + `plain.PlainLoginModule required user_billing="` + canary + `";`,
		"listener.name.secured.scram-sha-256.sasl.jaas.config":        jaas + "scram.ScramLoginModule required;",
		"listener.name.secured.scram-sha-512.sasl.jaas.config":        jaas + "scram.ScramLoginModule required;",
		"listener.name.secured.oauthbearer.sasl.jaas.config":          jaas + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
		"listener.name.secured.oauthbearer.connections.max.reauth.ms": "60000",
	}})
	const odd = "ﬁ,=ж🔑 " + canary // SASLprep would change or refuse it
	admin, err := sarama.NewClusterAdmin([]string{server.Addr()}, client(t, nil, nil))
	must(t, err)
	defer admin.Close()
	for _, m := range []sarama.ScramMechanismType{sarama.SCRAM_MECHANISM_SHA_256, sarama.SCRAM_MECHANISM_SHA_512} {
		_, err := admin.UpsertUserScramCredentials([]sarama.AlterUserScramCredentialsUpsert{
			{Name: "billing", Mechanism: m, Iterations: 8192, Salt: []byte("a grain of it"), Password: []byte(odd)},
		})
		must(t, err)
	}
	conf := &TLS{CAFile: filepath.Join(dir, "ca.pem"), CertFile: file("cert.pem", cert), KeyFile: file("key.pem", key)}
	token := func(subject string, ends time.Time) func(context.Context) (Token, error) {
		part := func(format string, args ...any) string {
			return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, format, args...))
		}
		text := part(`{"alg":"none"}`) + "." + part(`{"sub":%q,"iat":%d,"exp":%d}`, subject, ends.Add(-time.Hour).Unix(), ends.Unix()) + "."
		return func(context.Context) (Token, error) { return Token{Value: NewSecret(text)}, nil }
	}
	for name, c := range map[string]struct {
		right, wrong SASL
		says         string
	}{
		"PLAIN": {
			SASL{Mechanism: Plain, User: "billing", Password: NewSecret(canary)},
			SASL{Mechanism: Plain, User: "billing", Password: NewSecret("not " + canary)},
			"Invalid username or password",
		},
		"SCRAM-SHA-256": {
			SASL{Mechanism: ScramSHA256, User: "billing", Password: NewSecret(odd)},
			SASL{Mechanism: ScramSHA256, User: "billing", Password: NewSecret(canary)},
			"invalid credentials with SASL mechanism SCRAM-SHA-256",
		},
		"SCRAM-SHA-512": {
			SASL{User: "billing", Password: NewSecret(odd)},
			SASL{User: "billing", Password: NewSecret(canary)},
			"invalid credentials with SASL mechanism SCRAM-SHA-512",
		},
		"OAUTHBEARER": {
			SASL{Token: token("billing", time.Now().Add(time.Hour))},
			SASL{Token: token("billing", time.Now().Add(-time.Hour))},
			"SASL Authentication failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, reach(secured, client(t, conf, &c.right)))
			err := reach(secured, client(t, conf, &c.wrong))
			if !errors.Is(err, sarama.ErrSASLAuthenticationFailed) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %q", err, c.says)
			}
			mustNotShow(t, "the error", err.Error())
		})
	}
	err = reach(secured, client(t, &TLS{CAFile: conf.CAFile}, &SASL{User: "billing", Password: NewSecret(odd)}))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without a certificate: %v", err)
	}
}

// reach asks a broker for what there is.
func reach(addr string, c *sarama.Config) error {
	b := sarama.NewBroker(addr)
	if err := b.Open(c); err != nil {
		return err
	}
	defer b.Close()
	_, err := b.GetMetadata(sarama.NewMetadataRequest(c.Version, nil))
	return err
}

// freePorts are n ports of 127.0.0.1 that were free a moment ago.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
