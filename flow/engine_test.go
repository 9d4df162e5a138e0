package flow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

func TestSmoke(t *testing.T) {
	for _, how := range []string{"run", "addto", "gochannel", "gochannel-addto"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { smoke(t, how) })
		})
	}
}

func smoke(t *testing.T, how string) {
	const (
		in  channel.Topic[order]   = "in"
		eu  channel.Topic[order]   = "eu"
		us  channel.Topic[order]   = "us"
		ivs channel.Topic[invoice] = "ivs"
	)
	var mu sync.Mutex // GoChannel under a router has many goroutines
	done := map[string]int{}
	tries := map[string]int{}
	f, err := flow.New("f",
		flow.Step("route", in, router.Content(
			router.When("eu", func(o order) bool { return o.Region == "EU" }, eu),
			router.When("us", func(o order) bool { return o.Region == "US" }, us))),
		flow.Step("inv", eu, translator.Map(func(o order) (invoice, error) { return invoice{o.ID, o.Total}, nil }, ivs)),
		flow.Step("do", ivs, endpoint.Do(func(_ context.Context, i invoice) error {
			mu.Lock()
			defer mu.Unlock()
			tries[i.ID]++
			if i.ID == "o1" && tries[i.ID] < 3 {
				return errors.New("flaky")
			}
			if i.ID == "o2" {
				return errors.New("never")
			}
			done[i.ID]++
			return nil
		}), flow.Workers(1)),
		flow.Direct(eu),
		flow.Policy{Attempts: 3, Backoff: flow.Exponential(time.Second, time.Minute), DeadLetter: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	var pub message.Publisher
	var sub message.Subscriber
	var dead <-chan *message.Message
	if how == "gochannel" || how == "gochannel-addto" {
		g := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 100, Persistent: true}, watermill.NopLogger{})
		pub, sub = g, g
		defer g.Close()
		dead, _ = g.Subscribe(t.Context(), "dead")
	} else {
		b := &memory.Broker{}
		defer b.Close()
		pub, sub = b.Publisher(), b.Subscriber("g")
		dead, _ = b.Subscriber("d").Subscribe(t.Context(), "dead")
	}
	var stop func()
	var h *flow.Handle
	if how == "addto" || how == "gochannel-addto" {
		r := message.NewDefaultRouter(watermill.NopLogger{})
		h, err = f.AddTo(r, pub, sub)
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		go func() { defer close(over); r.Run(context.Background()) }()
		<-r.Running()
		stop = func() { r.Close(); <-over }
	} else {
		h, err = f.Start(t.Context(), pub, sub)
		if err != nil {
			t.Fatal(err)
		}
		stop = h.Stop
	}
	for i := range 10 {
		m := message.NewMessage(fmt.Sprint("m", i), []byte(fmt.Sprintf(`{"ID":"o%d","Region":"%s"}`, i, []string{"EU", "EU", "EU", "EU", "EU", "EU", "EU", "EU", "EU", "AS"}[i])))
		if err := pub.Publish("in", m); err != nil {
			t.Fatal(err)
		}
	}
	var letters []*message.Message
	for range 2 {
		select {
		case m := <-dead:
			letters = append(letters, m)
			m.Ack()
		case <-time.After(time.Hour):
			t.Fatal("no dead letter", h.Counts())
		}
	}
	time.Sleep(time.Minute)
	stop()
	for n, c := range h.Counts() {
		t.Log(n, c)
		if !c.Balanced() || c.InFlight != 0 {
			t.Error("unbalanced")
		}
	}
	for _, l := range letters {
		t.Log(l.UUID, string(l.Payload), l.Metadata)
	}
	if len(done) != 8 || tries["o1"] != 3 || tries["o2"] != 3 {
		t.Error(done, tries)
	}
}
