package kafka

import (
	"context"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// A Mechanism is a way to prove who one is.
type Mechanism string

// The mechanisms.
const (
	ScramSHA512 Mechanism = "SCRAM-SHA-512" // the password never leaves this program
	ScramSHA256 Mechanism = "SCRAM-SHA-256" // the password never leaves this program
	OAuthBearer Mechanism = "OAUTHBEARER"   // shows a token
	Plain       Mechanism = "PLAIN"         // shows the password
)

// SASL says who this program is: by User and Password, or by Credentials (SCRAM), or by Token (OAUTHBEARER).
// One of the three must be given.
//
// Functions are called for every new connection, and again when a broker wants proof anew (KIP-368), by several
// connections at once. They must return when their context ends.
type SASL struct {
	// Mechanism is what the brokers ask for. "": OAuthBearer with a Token, else ScramSHA512.
	Mechanism Mechanism
	// User and Password for SCRAM and PLAIN. What a managed cluster calls API key and secret are these.
	User     string
	Password Secret
	// Credentials gives user and password in place of User and Password, so that a changed password is in
	// use from the next connection on, without a restart. With SCRAM alone: for PLAIN the client under this
	// package keeps what it was given at its start. An error fails the connection, which is tried again.
	Credentials func(ctx context.Context) (user string, password Secret, err error)
	// Token gives a token for OAUTHBEARER. Keep one until shortly before it ends: it is asked for at every
	// connection. An error fails the connection, which is tried again.
	Token func(ctx context.Context) (Token, error)
	// Timeout is how long Credentials or Token may take. 0: 10 s.
	Timeout time.Duration
	// PlainWithoutTLS sends the password readable for everybody on the way. Without it, PLAIN without TLS is
	// refused.
	PlainWithoutTLS bool
	// TokenWithoutTLS sends the token readable for everybody on the way. Without it, OAUTHBEARER without TLS is
	// refused.
	TokenWithoutTLS bool
}

// A Token is what an authorization server gave this program, for OAUTHBEARER (RFC 7628).
type Token struct {
	// Value is the token as it was given, such as a JWT.
	Value Secret
	// Extensions are sent beside it (KIP-342); some managed clusters want the name of the cluster and of an
	// identity pool here. They are not treated as secrets.
	Extensions map[string]string
}

func (s *SASL) mechanism() Mechanism {
	if s.Mechanism == "" && s.Token != nil {
		return OAuthBearer
	}
	return or(s.Mechanism, ScramSHA512)
}

func (s *SASL) timeout() time.Duration { return or(s.Timeout, 10*time.Second) }

// wrong lists what is wrong with the settings, over connections with or without TLS. No function is called.
func (s *SASL) wrong(tls bool) []error {
	mechanism := s.mechanism()
	errs := []error{
		check(s.Timeout >= 0, "Cluster.SASL.Timeout is %v: give a duration, or 0 for 10s", s.Timeout),
		check(s.Token == nil || mechanism == OAuthBearer, "Cluster.SASL.Token is not for %s: leave Mechanism empty, or leave Token out", mechanism),
		check(s.Credentials == nil || mechanism == ScramSHA512 || mechanism == ScramSHA256,
			"Cluster.SASL.Credentials is not for %s: give SCRAM as Mechanism, or other fields", mechanism),
	}
	switch mechanism {
	case OAuthBearer:
		return append(errs,
			check(s.Token != nil, "Cluster.SASL.Token is missing: give the function that gets a token"),
			check(s.User == "" && s.Password.Reveal() == "", "Cluster.SASL.User and Password are not for OAUTHBEARER: leave them out"),
			check(tls || s.TokenWithoutTLS, "Cluster.TLS is nil, so that everybody on the way could read the token of OAUTHBEARER: give Cluster.TLS, or set Cluster.SASL.TokenWithoutTLS"))
	case Plain:
		errs = append(errs, check(tls || s.PlainWithoutTLS,
			"Cluster.TLS is nil, so that everybody on the way could read the password of PLAIN: give Cluster.TLS, or set Cluster.SASL.PlainWithoutTLS"))
	case ScramSHA512, ScramSHA256:
	default:
		return append(errs, check(false, "Cluster.SASL.Mechanism is %q: give %s, %s, %s or %s",
			mechanism, ScramSHA512, ScramSHA256, OAuthBearer, Plain))
	}
	if s.Credentials != nil {
		return append(errs, check(s.User == "" && s.Password.Reveal() == "", "Cluster.SASL.Credentials takes the place of User and Password: give one or the other"))
	}
	return append(errs, wrongLogin(s.User, s.Password)...)
}

// wrongLogin looks for what no user or password can be; a line break at the end is the usual trace of a file.
func wrongLogin(user string, password Secret) []error {
	control := func(text string) bool {
		return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
	}
	return []error{
		check(user != "", "Cluster.SASL.User is empty: give the user, or what the cluster calls API key"),
		check(password.Reveal() != "", "Cluster.SASL.Password is empty: give the password, or what the cluster calls API secret"),
		check(!control(user), "Cluster.SASL.User has a line break or another control character: trim it"),
		check(!control(password.Reveal()), "Cluster.SASL.Password has a line break or another control character: trim it"),
	}
}

// apply sets the client up. Nothing secret is in its configuration, except for PLAIN, which knows no other way.
func (s *SASL) apply(c *sarama.Config) {
	held := *s
	s = &held
	sasl := &c.Net.SASL
	sasl.Enable = true
	sasl.Mechanism = sarama.SASLMechanism(s.mechanism())
	switch s.mechanism() {
	case OAuthBearer:
		sasl.TokenProvider = bearer{s}
	case Plain:
		sasl.User, sasl.Password = s.User, s.Password.Reveal()
	default:
		sasl.User, sasl.Password = "of-scram", "of-scram" // the client wants some; scramClient has its own
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{sasl: s} }
	}
}

// login is user and password of now.
func (s *SASL) login() (string, Secret, error) {
	if s.Credentials == nil {
		return s.User, s.Password, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout())
	defer cancel()
	return s.Credentials(ctx)
}
