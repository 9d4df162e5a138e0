package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
)

// TLS encrypts connections and says which brokers to believe. The zero value trusts the system's
// certificate authorities and shows no certificate of its own. TLS 1.2 is the least that is spoken.
//
// Files are in PEM and read again for every new connection: a certificate, key or authority that was replaced
// is in use from the next one on, without a restart. Connections that exist stay as they are. A file that
// makes no sense while the program runs is logged once, as an error, and what it held before stays in use: so
// replace a certificate and its key in any order.
type TLS struct {
	// CAFile has the authorities that vouch for the brokers, and no others are believed. "": the system's,
	// which are read once, when the program first needs them.
	CAFile string
	// CertFile and KeyFile are who this program is (mutual TLS): its certificate, followed by those between it
	// and its authority, and the key. Both or neither.
	CertFile string
	KeyFile  string
	// ServerName is the name that the certificate of every broker must have. "": the host that is connected
	// to, name or IP address, which is right unless a tunnel or a proxy stands between.
	ServerName string
	// InsecureSkipVerify believes any broker, so that whoever is between can read and change everything,
	// passwords of PLAIN and tokens included. For tests.
	InsecureSkipVerify bool
}

// wrong lists what is wrong with the settings. It reads the files; it connects to nothing.
func (t *TLS) wrong() []error {
	_, _, err := net.SplitHostPort(t.ServerName)
	errs := []error{
		check(err != nil, "Cluster.TLS.ServerName is %q: give a name without a port", t.ServerName),
		check(!t.InsecureSkipVerify || t.CAFile == "", "Cluster.TLS.InsecureSkipVerify makes nothing of CAFile: give one of them"),
		check(t.CertFile == "" || t.KeyFile != "", "Cluster.TLS.KeyFile is empty: give the key of CertFile, or neither"),
		check(t.KeyFile == "" || t.CertFile != "", "Cluster.TLS.CertFile is empty: give the certificate of KeyFile, or neither"),
	}
	if _, err := t.roots(); err != nil {
		errs = append(errs, wrong("Cluster.TLS.CAFile: %v: give a file of certificates in PEM, or \"\" for the system's authorities", err))
	}
	if t.CertFile != "" && t.KeyFile != "" {
		if _, err := t.certificate(); err != nil {
			errs = append(errs, wrong("Cluster.TLS.CertFile, KeyFile: %v: give a certificate and its key in PEM, not encrypted", err))
		}
	}
	return errs
}

type dialing = func(ctx context.Context, network, address string) (net.Conn, error)

// dial makes connections that dial makes, and has the handshake with them. The client's own TLS would not do: it
// takes one set of authorities for ever, and a tls.Config that verifies by itself is not told the address of a
// broker without a name, so it could not see whose certificate that is.
func (t *TLS) dial(dial dialing, log *slog.Logger) (dialing, error) {
	held := *t
	t = &held
	roots := kept[*x509.CertPool]{read: t.roots, log: log}
	own := kept[*tls.Certificate]{read: t.certificate, log: log}
	if err := errors.Join(roots.first(), own.first()); err != nil {
		return nil, fmt.Errorf("reading the files of Cluster.TLS: %w", err)
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("address of a broker: %w", err)
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{
			MinVersion:         tls.VersionTLS12,
			ServerName:         or(t.ServerName, host),
			RootCAs:            roots.now(),
			InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // The user asked for it by that name.
		}
		if cert := own.now(); cert != nil {
			// Shown whatever authorities the broker names: its refusal says more than that there was none.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS with %s: %w", address, err)
		}
		return secured, nil
	}, nil
}

// certificate is this program's, nil if it has none.
func (t *TLS) certificate() (*tls.Certificate, error) {
	if t.CertFile == "" {
		return nil, nil //nolint:nilnil // None is fine.
	}
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", t.CertFile, t.KeyFile, err)
	}
	return &cert, nil
}

// roots are the authorities in CAFile, nil for the system's.
func (t *TLS) roots() (*x509.CertPool, error) {
	if t.CAFile == "" {
		return nil, nil //nolint:nilnil // As tls.Config has it.
	}
	text, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, err //nolint:wrapcheck // It names the file.
	}
	pool, err := authorities(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.CAFile, err)
	}
	return pool, nil
}

// authorities reads certificates in PEM. x509's AppendCertsFromPEM passes over what it cannot read, and with it
// over the second half of a file that is still being written.
func authorities(text []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n+1, err)
		}
		pool.AddCert(cert)
		n++
	}
	switch {
	case bytes.Contains(text, []byte("-----BEGIN")):
		return nil, fmt.Errorf("what follows certificate %d is cut off", n)
	case n == 0:
		return nil, errors.New("it has no certificate")
	default:
		return pool, nil
	}
}

// kept is what files held when they last made sense.
type kept[T any] struct {
	read func() (T, error)
	log  *slog.Logger
	last atomic.Pointer[T]
	said atomic.Pointer[string] // the error that was logged last
}

// first reads, and must succeed.
func (k *kept[T]) first() error {
	v, err := k.read()
	if err == nil {
		k.last.Store(&v)
	}
	return err
}

// now reads again. Files are small and connections rare: to look at times and sizes first would only be one
// more way to miss a change.
func (k *kept[T]) now() T {
	v, err := k.read()
	if err != nil {
		text := err.Error()
		if said := k.said.Swap(&text); said == nil || *said != text {
			k.log.Error("kafka: a file for TLS makes no sense; what it held before stays in use", "error", err)
		}
		return *k.last.Load()
	}
	k.said.Store(nil)
	k.last.Store(&v)
	return v
}
