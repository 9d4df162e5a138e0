package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A commit does not wait for the fetch that waits for the next message: ten of them take less than three such waits.
// Breaks if commits go over the connection that fetches.
func TestCommitDoesNotWaitForAFetch(t *testing.T) {
	const rounds = 10
	c := newCrowd(t, kafkatest.Shared(t).Addr(), 1)
	conf := SubscriberConfig{Cluster: Cluster{Brokers: []string{c.addr}}, Group: c.topic, CommitInterval: time.Millisecond}
	s, err := NewSubscriber(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sc, err := s.conf.config()
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPublisher(PublisherConfig{Cluster: conf.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	var took time.Duration
	err = s.Claim(t.Context(), []string{c.topic}, func(x adapters.Claim) {
		defer func() { go s.Close() }()
		for i := range rounds {
			if err := p.Publish(c.topic, keyed(fmt.Sprint(i))); err != nil {
				t.Error(err)
				return
			}
			run, err := x.Next(make([]*adapters.Record, 0, 1))
			if err != nil {
				t.Error(err)
				return
			}
			begun := time.Now()
			x.Finish(run)
			c.until("it is committed", func() bool { _, more := x.(*claim).uncommitted(); return !more })
			took += time.Since(begun)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if most := 3 * sc.Consumer.MaxWaitTime; took > most {
		t.Errorf("%d commits took %v, want %v at most", rounds, took, most)
	}
}
