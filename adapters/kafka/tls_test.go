package kafka

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key, a.pem = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of " + t.Name()}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign makes a key and a certificate for it, signed by itself before the authority has a key.
func (a *authority) sign(t *testing.T, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if signer == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue gives certificate and key in PEM for names and IP addresses.
func (a *authority) issue(t *testing.T, hosts ...string) (cert, key []byte) {
	t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	_, k, cert := a.sign(t, c)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// server is what a server needs that shows a certificate for hosts.
func (a *authority) server(t *testing.T, hosts ...string) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(a.issue(t, hosts...))
	must(t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write puts content into a file, at once as seen from outside.
func write(t *testing.T, file string, content []byte) string {
	t.Helper()
	must(t, os.WriteFile(file+".new", content, 0o600))
	must(t, os.Rename(file+".new", file))
	return file
}

// A tlsServer shakes hands by its settings of the moment.
type tlsServer struct {
	addr string
	mu   sync.Mutex
	conf *tls.Config
	seen []*x509.Certificate // of the last client
}

func (s *tlsServer) set(c *tls.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conf, s.seen = c, nil
}

func (s *tlsServer) serial() *big.Int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return nil
	}
	return s.seen[0].SerialNumber
}

// serve answers each connection with one byte, once the handshake is through; with no settings it
// speaks no TLS.
func serve(t *testing.T, c *tls.Config) *tlsServer {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	s := &tlsServer{addr: l.Addr().String(), conf: c}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				s.mu.Lock()
				conf := s.conf
				s.mu.Unlock()
				if conf == nil {
					_, _ = conn.Write([]byte("220 mail.example"))
					return
				}
				secured := tls.Server(conn, conf)
				if secured.HandshakeContext(t.Context()) == nil {
					s.mu.Lock()
					s.seen = secured.ConnectionState().PeerCertificates
					s.mu.Unlock()
					_, _ = secured.Write([]byte{1})
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return s
}

func dialerOf(t *testing.T, conf *TLS, log *slog.Logger) dialing {
	t.Helper()
	dial, err := conf.dial((&net.Dialer{}).DialContext, log)
	must(t, err)
	return dial
}

// try connects and waits for the server's byte: in TLS 1.3 a refused client learns it only then.
func try(t *testing.T, dial dialing, addr string) error {
	t.Helper()
	conn, err := dial(t.Context(), "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	return err
}

func TestTLSWrong(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	cert, key := a.issue(t, "localhost")
	_, other := a.issue(t, "localhost")
	file := func(name string, content []byte) string { return write(t, filepath.Join(dir, name), content) }
	ca, certFile, keyFile := file("ca.pem", a.pem), file("cert.pem", cert), file("key.pem", key)
	for name, c := range map[string]struct {
		conf TLS
		want []string // in this order, one for each error
	}{
		"zero":          {conf: TLS{}},
		"all":           {conf: TLS{CAFile: ca, CertFile: certFile, KeyFile: keyFile, ServerName: "kafka.example"}},
		"IPv6":          {conf: TLS{ServerName: "::1"}},
		"insecure":      {conf: TLS{InsecureSkipVerify: true}},
		"no CA file":    {TLS{CAFile: filepath.Join(dir, "none.pem")}, []string{"TLS.CAFile: open " + filepath.Join(dir, "none.pem")}},
		"CA is a key":   {TLS{CAFile: keyFile}, []string{"TLS.CAFile: " + keyFile + ": it has no certificate"}},
		"CA is empty":   {TLS{CAFile: file("empty.pem", nil)}, []string{"it has no certificate"}},
		"CA is cut off": {TLS{CAFile: file("cut.pem", a.pem[:len(a.pem)/2])}, []string{"cut off"}},
		"cert alone":    {TLS{CertFile: certFile}, []string{"TLS.KeyFile is empty"}},
		"key alone":     {TLS{KeyFile: keyFile}, []string{"TLS.CertFile is empty"}},
		"no cert file":  {TLS{CertFile: filepath.Join(dir, "none.pem"), KeyFile: keyFile}, []string{"none.pem"}},
		"other key":     {TLS{CertFile: certFile, KeyFile: file("other.pem", other)}, []string{"TLS.CertFile, KeyFile: " + certFile}},
		"port":          {TLS{ServerName: "kafka.example:9093"}, []string{"TLS.ServerName"}},
		"both":          {TLS{InsecureSkipVerify: true, CAFile: ca}, []string{"TLS.InsecureSkipVerify"}},
		"together":      {TLS{ServerName: "a:1", CAFile: certFile + "x", KeyFile: keyFile}, []string{"TLS.ServerName", "TLS.CertFile", "TLS.CAFile"}},
	} {
		t.Run(name, func(t *testing.T) { mustName(t, c.conf.wrong(), c.want) })
	}
}

// mustName sees that errs are ErrConfig and name what they must, one each.
func mustName(t *testing.T, errs []error, want []string) {
	t.Helper()
	n := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		if n >= len(want) || !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want[n]) || strings.Contains(err.Error(), "%!") {
			t.Errorf("error %d is %v, want %v", n, err, want)
		}
		n++
	}
	if n < len(want) {
		t.Errorf("got %v, want %v", errs, want)
	}
}

func TestTLSAuthorities(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	bundle := bytes.Join([][]byte{[]byte("# first\n"), a.pem, []byte("# second\n"), b.pem, []byte("# end\n")}, nil)
	pool, err := authorities(bundle)
	must(t, err)
	both := a.pool()
	both.AddCert(b.cert)
	if !pool.Equal(both) {
		t.Error("two certificates among comments are not two authorities")
	}
	for cut := len("# first\n") + len(a.pem) + len("# second\n-----BEGIN"); cut < len(bundle)-len("# end\n")-2; cut++ {
		if _, err := authorities(bundle[:cut]); err == nil {
			t.Fatalf("%d of %d bytes: the second certificate is missed silently", cut, len(bundle))
		}
	}
	block, _ := pem.Decode(b.pem)
	block.Bytes = block.Bytes[:len(block.Bytes)-1]
	if _, err := authorities(append(bytes.Clone(a.pem), pem.EncodeToMemory(block)...)); err == nil || !strings.Contains(err.Error(), "certificate 2") {
		t.Errorf("a broken second certificate: %v", err)
	}
}

// The name of who answers is verified: for an IP address too, which TLS does not send along.
func TestTLSVerifies(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	ca := write(t, filepath.Join(t.TempDir(), "ca.pem"), a.pem)
	old := a.server(t, "127.0.0.1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	for name, c := range map[string]struct {
		server *tls.Config
		conf   TLS
		host   string
		want   string // in the error, "" for none
	}{
		"address":           {a.server(t, "127.0.0.1"), TLS{CAFile: ca}, "127.0.0.1", ""},
		"other address":     {a.server(t, "127.0.0.2", "localhost"), TLS{CAFile: ca}, "127.0.0.1", "not 127.0.0.1"},
		"name":              {a.server(t, "localhost"), TLS{CAFile: ca}, "localhost", ""},
		"other name":        {a.server(t, "kafka.example", "127.0.0.1"), TLS{CAFile: ca}, "localhost", "not localhost"},
		"given name":        {a.server(t, "kafka.example"), TLS{CAFile: ca, ServerName: "kafka.example"}, "127.0.0.1", ""},
		"other given name":  {a.server(t, "127.0.0.1"), TLS{CAFile: ca, ServerName: "kafka.example"}, "127.0.0.1", "match kafka.example"},
		"other authority":   {b.server(t, "127.0.0.1"), TLS{CAFile: ca}, "127.0.0.1", "unknown authority"},
		"system":            {a.server(t, "127.0.0.1"), TLS{}, "127.0.0.1", "unknown authority"},
		"insecure":          {b.server(t, "kafka.example"), TLS{InsecureSkipVerify: true}, "127.0.0.1", ""},
		"TLS 1.1":           {old, TLS{CAFile: ca}, "127.0.0.1", "protocol version"},
		"TLS 1.1, insecure": {old, TLS{InsecureSkipVerify: true}, "127.0.0.1", "protocol version"},
		"no TLS":            {nil, TLS{CAFile: ca}, "127.0.0.1", "does not look like a TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(serve(t, c.server).addr)
			addr := net.JoinHostPort(c.host, port)
			err := try(t, dialerOf(t, &c.conf, slog.New(slog.DiscardHandler)), addr)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "TLS with "+addr)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// What was replaced is in use from the next connection on.
func TestTLSReload(t *testing.T) {
	first, second, dir := newAuthority(t), newAuthority(t), t.TempDir()
	conf := &TLS{CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	own := func(a *authority) *big.Int {
		cert, key := a.issue(t)
		write(t, conf.CertFile, cert)
		write(t, conf.KeyFile, key)
		block, _ := pem.Decode(cert)
		leaf, err := x509.ParseCertificate(block.Bytes)
		must(t, err)
		return leaf.SerialNumber
	}
	mutual := func(a *authority) *tls.Config {
		c := a.server(t, "127.0.0.1")
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, a.pool()
		return c
	}
	write(t, conf.CAFile, first.pem)
	serial := own(first)
	s := serve(t, mutual(first))
	dial := dialerOf(t, conf, slog.New(slog.DiscardHandler))
	works := func(what string) {
		t.Helper()
		if err := try(t, dial, s.addr); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := s.serial(); got == nil || got.Cmp(serial) != 0 {
			t.Fatalf("%s: the server saw certificate %v, want %v", what, got, serial)
		}
	}
	works("at first")
	serial = own(first)
	works("a new certificate of the same authority")
	s.set(mutual(second))
	if err := try(t, dial, s.addr); err == nil {
		t.Fatal("a server of an authority that is not in the file yet was believed")
	}
	write(t, conf.CAFile, second.pem)
	if err := try(t, dial, s.addr); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Fatalf("the server's refusal of our old certificate does not show: %v", err)
	}
	serial = own(second)
	works("a new authority on both sides")
	s.set(mutual(first))
	if err := try(t, dial, s.addr); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Fatalf("the authority that was taken out of the file is still believed: %v", err)
	}
}

// A file that makes no sense changes nothing and is logged once.
func TestTLSKeepsWhatMadeSense(t *testing.T) {
	a, b, dir := newAuthority(t), newAuthority(t), t.TempDir()
	conf := &TLS{CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	cert, key := a.issue(t)
	cert2, key2 := a.issue(t)
	write(t, conf.CAFile, a.pem)
	write(t, conf.CertFile, cert)
	write(t, conf.KeyFile, key)
	server := a.server(t, "127.0.0.1")
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, a.pool()
	s := serve(t, server)
	var log bytes.Buffer
	dial := dialerOf(t, conf, slog.New(slog.NewTextHandler(&log, nil)))
	works := func(what string, lines int) {
		t.Helper()
		for range 3 {
			if err := try(t, dial, s.addr); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if got := strings.Count(log.String(), "level=ERROR"); got != lines || strings.Count(log.String(), "\n") != lines {
			t.Fatalf("%s: %d lines of errors, want %d:\n%s", what, got, lines, &log)
		}
	}
	works("at first", 0)
	write(t, conf.CAFile, a.pem[:100])
	works("authorities cut off", 1)
	must(t, os.Remove(conf.CAFile))
	works("authorities gone", 2)
	write(t, conf.CertFile, cert2)
	works("a certificate before its key", 3)
	first := s.serial()
	write(t, conf.KeyFile, key2)
	works("both", 3)
	if s.serial().Cmp(first) == 0 {
		t.Error("the new certificate waits for the authorities' file to be mended")
	}
	write(t, conf.CAFile, append(bytes.Clone(b.pem), a.pem...))
	works("authorities mended", 3)
	must(t, os.Remove(conf.CAFile))
	works("authorities gone again", 4)
	s.set(b.server(t, "127.0.0.1"))
	works("what the mended file held is kept", 4)
	if !strings.Contains(log.String(), conf.CAFile) || !strings.Contains(log.String(), conf.KeyFile) {
		t.Errorf("the log does not name the files:\n%s", &log)
	}
}

// Connections may be made side by side while files are replaced.
func TestTLSReloadsConcurrently(t *testing.T) {
	a := newAuthority(t)
	ca := write(t, filepath.Join(t.TempDir(), "ca.pem"), a.pem)
	s := serve(t, a.server(t, "127.0.0.1"))
	dial := dialerOf(t, &TLS{CAFile: ca}, slog.New(slog.DiscardHandler))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 8 {
				if err := try(t, dial, s.addr); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 100 {
		write(t, ca, [][]byte{a.pem, a.pem[:100]}[i%2])
	}
	all.Wait()
}

// The handshake ends with its context: a broker that says nothing holds up nobody.
func TestTLSHandshakeEndsWithItsContext(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	dial, err := (&TLS{}).dial(func(context.Context, string, string) (net.Conn, error) { return near, nil }, slog.Default())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // the client's hello is here, and no answer comes
		_, _ = far.Read(make([]byte, 1))
		cancel()
	}()
	if _, err := dial(ctx, "tcp", "kafka.example:9093"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "kafka.example:9093") {
		t.Errorf("got %v", err)
	}
	if _, err := near.Write(nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection is left open: %v", err)
	}
}

// A connection that comes to nothing is closed.
func TestTLSClosesWhatItRefuses(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	dial, err := (&TLS{}).dial(func(context.Context, string, string) (net.Conn, error) { return near, nil }, slog.Default())
	must(t, err)
	var peer sync.WaitGroup
	peer.Go(func() {
		_, _ = far.Read(make([]byte, 4096))
		_, _ = far.Write([]byte("220 mail.example"))
		_, _ = io.Copy(io.Discard, far) // until it is closed, after an alert
	})
	if _, err := dial(t.Context(), "tcp", "kafka.example:9093"); err == nil || !strings.Contains(err.Error(), "does not look like a TLS handshake") {
		t.Errorf("got %v", err)
	}
	if _, err := near.Write(nil); !errors.Is(err, io.ErrClosedPipe) {
		_ = near.Close()
		t.Errorf("the connection is left open: %v", err)
	}
	peer.Wait()
}
