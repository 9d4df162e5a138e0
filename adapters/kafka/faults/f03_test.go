package faults_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F3: the broker is killed and started again on its data, under load. A publish blocks, or fails within
// 30 s, and what failed is published again; the flow goes on by itself within 10 s of the broker's return.
// Nothing is lost, and with an idempotent receiver nothing has an effect twice.
func TestF3(t *testing.T) {
	rng, seed := random(t)
	server := kafkatest.Own(t)
	restarts := of(2, 10)
	const partitions, keys, batch = 3, 100, 50
	p := newPlace(t, server.Addr(), partitions, seed)
	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Cluster: kafka.Cluster{Brokers: []string{server.Addr()}}, Group: p.Group,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var last time.Time
	first := map[string]bool{}
	f, err := flow.New("f3", flow.Step("note", channel.Topic[parcel](p.In), endpoint.DoMessage(func(m channel.Message[parcel]) error {
		mu.Lock()
		defer mu.Unlock()
		last = time.Now()
		first[m.Body.ID] = true
		p.ledger.Effect(m.Body.ID)
		return nil
	}), flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}})), flow.Policy{Attempts: 3, DeadLetter: channel.Topic[[]byte](p.Dead)}, flow.Group(p.Group))
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Start(t.Context(), p.pub, sub)
	if err != nil {
		t.Fatal(err)
	}
	ctx, halt := context.WithCancel(t.Context())
	published, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			p.insist(t, parcels(published, batch, keys))
			published += batch
			pace := time.NewTimer(20 * time.Millisecond)
			<-pace.C
		}
	}()
	effects := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(first)
	}
	for i := range restarts {
		goal := effects() + 200 + rng.IntN(200)
		until(t, time.Minute, "effects go on", func() bool { return effects() >= goal })
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		back, before := time.Now(), effects()
		until(t, 30*time.Second, "effects go on after the broker's return", func() bool { return effects() > before })
		mu.Lock()
		took := last.Sub(back)
		mu.Unlock()
		if took > 10*time.Second {
			t.Errorf("restart %d: the first effect came %v after the broker's return", i, took)
		}
		t.Logf("restart %d: the first effect came %v after the broker's return", i, took.Round(time.Millisecond))
	}
	halt()
	<-done
	until(t, time.Minute, "everything has its effect", func() bool { return effects() == published })
	drain, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.Drain(drain); err != nil {
		t.Error(err)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if left := p.left(t); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	p.deadLetters(t)
	p.ledger.Accounts(h.Counts())
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d restarts. %s", published, restarts, leattest.Replay(t, seed))
}

// insist publishes a batch until every message of it is acknowledged: each time those that are not.
func (p *place) insist(t *testing.T, ps []parcel) {
	ms := messages(ps)
	for _, x := range ps {
		p.ledger.Tried(x.ID, x.Key)
	}
	for len(ms) > 0 {
		began := time.Now()
		err := p.pub.Publish(p.In, ms...)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("a publish took %v", took)
		}
		if err == nil {
			break
		}
		failed, ok := errors.AsType[*kafka.PublishError](err)
		if !ok {
			t.Errorf("publishing: %v", err)
			return
		}
		ms = failed.Rest()
	}
	for _, x := range ps {
		p.ledger.Published(x.ID, x.Key)
	}
}
