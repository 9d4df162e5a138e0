package kafkatest

import (
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Fake starts a Kafka in the process, of one broker on 127.0.0.1 unless opts say otherwise. It is closed
// when the test ends. Its address is Addr(fake).
func Fake(tb testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	tb.Helper()
	local := kfake.ListenFn(func(network, address string) (net.Listener, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err //nolint:wrapcheck // NewCluster's to report
		}
		return net.Listen(network, net.JoinHostPort(host, port)) //nolint:noctx // it does not wait
	})
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), local}, opts...)...)
	if err != nil {
		tb.Fatalf("starting a Kafka in the process: %v", err)
	}
	tb.Cleanup(c.Close)
	return c
}

// Addr is where clients connect to a fake: the host:port of its first broker.
func Addr(fake *kfake.Cluster) string { return fake.ListenAddrs()[0] }
