package hostile_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
)

// Where there is no broker at start, or something that takes connections and says nothing, everything that would
// connect gives an error that names the address, within DialTimeout and a little.
func TestNoBrokerAtStart(t *testing.T) {
	const dialTimeout = 2 * time.Second
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for name, addr := range map[string]string{"nobody": gone.Addr().String(), "mute": l.Addr().String()} {
		c := quiet(addr)
		c.DialTimeout = dialTimeout
		pub := publisher(t, kafka.PublisherConfig{Cluster: c})
		sub := subscriber(t, kafka.SubscriberConfig{Cluster: c, Group: "g"})
		f := newFlow(t, "down", flow.Step("do", channel.Topic[string]("topic"), endpoint.Do(func(context.Context, string) error { return nil })),
			flow.Policy{Attempts: 1, DeadLetter: "dead"})
		for what, call := range map[string]func() error{
			"publish": func() error { return pub.Publish("topic", note("id", "")) },
			"subscribe": func() error {
				_, err := sub.Subscribe(t.Context(), "topic")
				return err
			},
			"claim":                   func() error { return sub.Claim(t.Context(), []string{"topic"}, func(adapters.Claim) {}) },
			"flow":                    func() error { return f.Run(t.Context(), pub, sub) },
			"ensure":                  func() error { return pub.Ensure(t.Context(), []string{"topic"}) },
			"subscribe without group": func() error { _, err := sub.Group("").Subscribe(t.Context(), "topic"); return err },
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				begun := time.Now()
				result := make(chan error, 1)
				go func() { result <- call() }()
				select {
				case err := <-result:
					if err == nil || !strings.Contains(err.Error(), addr) {
						t.Errorf("%v, want an error that names %s", err, addr)
					}
					if took := time.Since(begun); took > dialTimeout+dialTimeout/2 {
						t.Errorf("the error came after %v, DialTimeout is %v", took, dialTimeout)
					}
				case <-time.After(10 * dialTimeout):
					t.Fatalf("no error after %v, DialTimeout is %v", 10*dialTimeout, dialTimeout)
				}
			})
		}
	}
}
