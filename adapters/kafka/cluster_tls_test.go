package kafka

import (
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
)

// A client of a Cluster believes the authorities that are in the file when it connects, not those of its start.
func TestClusterReloadsAuthorities(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	var server atomic.Pointer[tls.Config]
	server.Store(first.server(t, "127.0.0.1"))
	brokers := fake(t, kfake.TLS(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server.Load(), nil },
	})).ListenAddrs()
	ca := write(t, filepath.Join(t.TempDir(), "ca.pem"), first.pem)
	cluster := Cluster{Brokers: brokers, TLS: &TLS{CAFile: ca}, DialTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)}.withDefaults()
	conf, err := cluster.config()
	must(t, err)
	connect := func() error {
		b := sarama.NewBroker(brokers[0])
		must(t, b.Open(conf))
		defer b.Close()
		_, err := b.Connected()
		return err
	}
	must(t, connect())
	server.Store(second.server(t, "127.0.0.1"))
	if err := connect(); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Fatalf("an authority that is not in the file: %v", err)
	}
	write(t, ca, second.pem)
	must(t, connect())
}
