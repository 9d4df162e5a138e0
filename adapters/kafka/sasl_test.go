package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func fake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// A tlsDialer is TLS as the client dials it.
type tlsDialer struct {
	t    *testing.T
	dial dialing
}

func (d tlsDialer) Dial(network, address string) (net.Conn, error) {
	return d.dial(d.t.Context(), network, address)
}

// client is the client's configuration with TLS and SASL, either of which may be nil. It tries once.
func client(t *testing.T, secured *TLS, sasl *SASL) *sarama.Config {
	t.Helper()
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Metadata.Retry.Max = 0
	if secured != nil {
		c.Net.Proxy.Enable = true
		c.Net.Proxy.Dialer = tlsDialer{t, dialerOf(t, secured, slog.New(slog.DiscardHandler))}
	}
	if sasl != nil {
		for _, err := range sasl.wrong(secured != nil) {
			must(t, err)
		}
		sasl.apply(c)
	}
	return c
}

// greet connects and asks for what there is.
func greet(brokers []string, c *sarama.Config) error {
	client, err := sarama.NewClient(brokers, c)
	if err != nil {
		return err
	}
	return client.Close()
}

func TestSASLWrong(t *testing.T) {
	secret := NewSecret(canary)
	token := func(context.Context) (Token, error) { panic("called") }
	credentials := func(context.Context) (string, Secret, error) { panic("called") }
	for name, c := range map[string]struct {
		conf SASL
		tls  bool
		want []string
	}{
		"SCRAM":              {conf: SASL{User: "billing", Password: secret}},
		"SCRAM-SHA-256":      {conf: SASL{Mechanism: ScramSHA256, User: "billing", Password: secret}},
		"SCRAM, credentials": {conf: SASL{Credentials: credentials}},
		"token":              {conf: SASL{Token: token}, tls: true},
		"token, open":        {conf: SASL{Token: token, TokenWithoutTLS: true}},
		"PLAIN":              {conf: SASL{Mechanism: Plain, User: "billing", Password: secret}, tls: true},
		"PLAIN, open":        {conf: SASL{Mechanism: Plain, User: "billing", Password: secret, PlainWithoutTLS: true}},

		"zero":                   {SASL{}, true, []string{"SASL.User is empty", "SASL.Password is empty"}},
		"PLAIN without TLS":      {SASL{Mechanism: Plain, User: "billing", Password: secret, TokenWithoutTLS: true}, false, []string{"SASL.PlainWithoutTLS"}},
		"token without TLS":      {SASL{Token: token, PlainWithoutTLS: true}, false, []string{"SASL.TokenWithoutTLS"}},
		"no token":               {SASL{Mechanism: OAuthBearer}, true, []string{"SASL.Token is missing"}},
		"token and password":     {SASL{Token: token, User: "billing", Password: secret}, true, []string{"SASL.User and Password"}},
		"token for SCRAM":        {SASL{Mechanism: ScramSHA256, Token: token, User: "billing", Password: secret}, true, []string{"SASL.Token is not for SCRAM-SHA-256"}},
		"credentials for PLAIN":  {SASL{Mechanism: Plain, Credentials: credentials}, true, []string{"SASL.Credentials is not for PLAIN"}},
		"credentials for token":  {SASL{Token: token, Credentials: credentials}, true, []string{"SASL.Credentials is not for OAUTHBEARER"}},
		"two logins":             {SASL{Credentials: credentials, Password: secret}, true, []string{"SASL.Credentials takes the place"}},
		"mechanism":              {SASL{Mechanism: "GSSAPI", User: "billing", Password: secret}, true, []string{`SASL.Mechanism is "GSSAPI"`}},
		"negative timeout":       {SASL{User: "billing", Password: secret, Timeout: -1}, true, []string{"SASL.Timeout"}},
		"line break in password": {SASL{User: "billing", Password: NewSecret(canary + "\n")}, true, []string{"SASL.Password has a line break"}},
		"NUL in user":            {SASL{Mechanism: Plain, User: "bill\x00ing", Password: secret}, true, []string{"SASL.User has a line break or another control character"}},
		"together":               {SASL{Mechanism: Plain, Timeout: -1}, false, []string{"SASL.Timeout", "SASL.PlainWithoutTLS", "SASL.User", "SASL.Password"}},
	} {
		t.Run(name, func(t *testing.T) {
			errs := c.conf.wrong(c.tls)
			mustName(t, errs, c.want)
			mustNotShow(t, "the errors", fmt.Sprint(errs))
		})
	}
}

// Each mechanism, with and without TLS, against a broker that checks.
func TestSASL(t *testing.T) {
	a := newAuthority(t)
	ca := &TLS{CAFile: write(t, filepath.Join(t.TempDir(), "ca.pem"), a.pem)}
	const odd = "ﬁ,=\u00a0ж🔑 " + canary // what SASLprep would change or refuse: Kafka takes it as it is
	for name, secured := range map[string]*TLS{"open": nil, "TLS": ca} {
		t.Run(name, func(t *testing.T) {
			opts := []kfake.Opt{kfake.EnableSASL()}
			if secured != nil {
				opts = append(opts, kfake.TLS(a.server(t, "127.0.0.1")))
			}
			for _, m := range []Mechanism{Plain, ScramSHA256, ScramSHA512} {
				opts = append(opts, kfake.Superuser(string(m), "billing", odd))
			}
			brokers := fake(t, opts...).ListenAddrs()
			for _, m := range []Mechanism{Plain, ScramSHA256, ScramSHA512, ""} {
				right := SASL{Mechanism: m, User: "billing", Password: NewSecret(odd), PlainWithoutTLS: true}
				if err := greet(brokers, client(t, secured, &right)); err != nil {
					t.Errorf("%s: %v", m, err)
				}
				wrong := right
				wrong.Password = NewSecret(canary)
				err := greet(brokers, client(t, secured, &wrong))
				if err == nil {
					t.Errorf("%s: a wrong password passes", m)
					continue
				}
				mustNotShow(t, "the error", err.Error())
			}
			if greet(brokers, client(t, secured, nil)) == nil {
				t.Error("the broker checks nothing")
			}
		})
	}
}

// Publisher and Subscriber have the settings of their Cluster. Neither errors nor logs show what is secret.
func TestSecuredCluster(t *testing.T) {
	a := newAuthority(t)
	brokers := fake(t, kfake.TLS(a.server(t, "127.0.0.1")), kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", "billing", canary), kfake.SeedTopics(1, "orders")).ListenAddrs()
	var log syncBuffer
	c := Cluster{
		Brokers: brokers, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		TLS:  &TLS{CAFile: write(t, filepath.Join(t.TempDir(), "ca.pem"), a.pem)},
		SASL: &SASL{User: "billing", Password: NewSecret(canary)},
	}
	publish := func(c Cluster) error {
		p, err := NewPublisher(PublisherConfig{Cluster: c})
		must(t, err)
		defer p.Close()
		return p.Publish("orders", message.NewMessage("1", []byte("tea")))
	}
	must(t, publish(c))
	s, err := NewSubscriber(SubscriberConfig{Cluster: c, Group: "billing"})
	must(t, err)
	defer s.Close()
	ms, err := s.Subscribe(t.Context(), "orders")
	must(t, err)
	m := <-ms
	if m == nil || m.UUID != "1" {
		t.Fatalf("got %v", m)
	}
	m.Ack()
	wrong := c
	wrong.SASL = &SASL{User: "billing", Password: NewSecret("not " + canary)}
	err = publish(wrong)
	if err == nil || !strings.Contains(err.Error(), brokers[0]) {
		t.Errorf("a wrong password: %v", err)
	} else {
		mustNotShow(t, "the error", err.Error())
	}
	wrong.SASL, wrong.TLS = c.SASL, &TLS{}
	if err := publish(wrong); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a broker of an unknown authority: %v", err)
	}
	mustNotShow(t, "the log", log.String())
}

// syncBuffer takes lines from several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// With a certificate of our own, which the broker asks for.
func TestMutualTLS(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	server := a.server(t, "127.0.0.1")
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, a.pool()
	brokers := fake(t, kfake.TLS(server)).ListenAddrs()
	cert, key := a.issue(t)
	conf := TLS{CAFile: write(t, filepath.Join(dir, "ca.pem"), a.pem)}
	if err := greet(brokers, client(t, &conf, nil)); err == nil || !strings.Contains(err.Error(), "tls: certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	conf.CertFile, conf.KeyFile = write(t, filepath.Join(dir, "cert.pem"), cert), write(t, filepath.Join(dir, "key.pem"), key)
	must(t, greet(brokers, client(t, &conf, nil)))
	conf.CAFile = ""
	if err := greet(brokers, client(t, &conf, nil)); err == nil || !strings.Contains(err.Error(), "TLS with "+brokers[0]+": ") || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a broker of an unknown authority: %v", err)
	}
}

// A broker's refusal says what it is about, and is not taken for a broker that is down.
func TestSASLRefused(t *testing.T) {
	c := fake(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "billing", canary))
	const reason = "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512"
	c.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr(reason)
		return resp, nil, true
	})
	err := greet(c.ListenAddrs(), client(t, nil, &SASL{User: "billing", Password: NewSecret(canary)}))
	if !errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), reason) {
		t.Errorf("%v does not say what the broker said", err)
	}
	mustNotShow(t, "the error", err.Error())
}

// A changed password is in use from the next connection on, by a client that exists.
func TestSASLCredentials(t *testing.T) {
	c := fake(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "old", canary), kfake.Superuser("SCRAM-SHA-256", "new", canary+"2"))
	var mu sync.Mutex
	user, password, broken, calls := "old", NewSecret(canary), error(nil), 0
	conf := client(t, nil, &SASL{Mechanism: ScramSHA256, Credentials: func(context.Context) (string, Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		return user, password, broken
	}})
	change := func(u string, p Secret, err error) {
		mu.Lock()
		defer mu.Unlock()
		user, password, broken, calls = u, p, err, 0
	}
	mustNotShow(t, "the client's configuration", conf.Net.SASL.Password)
	client, err := sarama.NewClient(c.ListenAddrs(), conf)
	must(t, err)
	defer client.Close()
	connect := func() error {
		b := client.Brokers()[0]
		_ = b.Close()
		must(t, b.Open(conf))
		_, err := b.Connected()
		return err
	}
	must(t, connect())
	change("new", NewSecret(canary+"2"), nil)
	must(t, connect())
	if calls != 1 {
		t.Errorf("asked %d times for one connection", calls)
	}
	vault := errors.New("vault is sealed")
	change("", Secret{}, vault)
	if err := connect(); !errors.Is(err, vault) {
		t.Errorf("got %v, want %v", err, vault)
	}
	change("new", Secret{}, nil)
	if err := connect(); !errors.Is(err, ErrConfig) {
		t.Errorf("an empty password: %v", err)
	}
	change("new", NewSecret(canary+"2"), nil)
	must(t, connect())
}

// What is asked has a deadline.
func TestSASLTimeout(t *testing.T) {
	for want, timeout := range map[time.Duration]time.Duration{10 * time.Second: 0, time.Minute: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := SASL{
				Timeout:     timeout,
				Credentials: func(ctx context.Context) (string, Secret, error) { <-ctx.Done(); return "", Secret{}, ctx.Err() },
				Token:       func(ctx context.Context) (Token, error) { <-ctx.Done(); return Token{}, ctx.Err() },
			}
			began := time.Now()
			err := (&scramClient{sasl: &s}).Begin("", "", "")
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != want {
				t.Errorf("Credentials: %v after %v, want %v", err, took, want)
			}
			began = time.Now()
			_, err = bearer{&s}.Token()
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != want {
				t.Errorf("Token: %v after %v, want %v", err, took, want)
			}
		})
	}
}
