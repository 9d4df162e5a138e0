package faults_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/translator"
)

// F37 for one block alone, for the middlewares of a plain router, and for what is fed by hand: their
// errors go to Watermill's logger, or to the caller's.
func TestF37Alone(t *testing.T) {
	seeds(t, func(w *world) {
		s := newSecret(w)
		x := &witness{w: w, kind: told, wrong: s.in}
		c := x.traces.Config()
		pub := c.Publisher(w.broker.Publisher())
		add := func(p paper) (paper, error) {
			switch p.Fault {
			case "panic":
				panic(p)
			case "error":
				return paper{}, errTrouble
			case "encode":
				p.Any = map[string]any{"x": make(chan int)}
			}
			return p, nil
		}
		pure, err1 := flow.HandlerFunc("pure", translator.Map(add, direct))
		acts, err2 := flow.Handler("acts", endpoint.Do(func(_ context.Context, p paper) error { _, err := add(p); return err }), pub,
			flow.Policy{Attempts: 1, DeadLetter: dead}, flow.Tracing(c), flow.Logger(x.logger()))
		f, err3 := flow.New("fed", flow.Step("map", papers, translator.Map(add, direct)), flow.Policy{Redeliver: true, Backoff: flow.Fixed(time.Second)},
			flow.Tracing(c), flow.Logger(x.logger()))
		if err := errors.Join(err1, err2, err3); err != nil {
			w.t.Fatal(err)
		}
		fed, stop := x.fed(f, pub)
		defer stop()
		var seen idempotency.Memory
		once := idempotency.Receiver{Store: &seen}.Middleware("alone/once")
		handlers := map[string]message.HandlerFunc{
			"HandlerFunc": pure, "Handler": func(m *message.Message) ([]*message.Message, error) { return nil, acts(m) },
			"Middleware": c.Middleware(once(pure)),
		}
		w.names = func(m *message.Message) []string { return []string{m.UUID} }
		w.dead = x.letter
		for name, h := range handlers {
			for _, fault := range []string{"", "panic", "error", "encode", "decode", ""} {
				x.alone(name, fault, s.text, h)
			}
		}
		for _, fault := range []string{"", "panic", "error", "encode"} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			x.note("the error of a feed", fed(ctx, fault, paper{item: item{ID: fault, Fault: fault}, Secret: s.text}))
			cancel()
		}
		x.refusals(s.text)
		x.close()
	})
}

// fed starts a flow that is fed by hand.
func (x *witness) fed(f *flow.Flow, pub message.Publisher) (fed flow.Feed[paper], stop func()) {
	h, err := f.Start(context.Background(), pub, x.w.broker.Subscriber("fed"))
	if err == nil {
		fed, err = flow.Into(h, papers)
	}
	if err != nil {
		x.w.t.Fatal(err)
	}
	return fed, h.Stop
}

// alone has a handler handle one message.
func (x *witness) alone(name, fault, secret string, h message.HandlerFunc) {
	id := name + " " + fault
	m := message.NewMessage(id, encode(paper{item: item{ID: id, Fault: fault}, Secret: secret}))
	if fault == "decode" {
		m.Payload = []byte(`{"at":"` + secret + `"}`)
	}
	m.Metadata["authorization"], m.Metadata[channel.HeaderKey] = secret, secret
	x.w.ledger.mayDie(id)
	defer func() {
		if p := recover(); p != nil {
			x.note("a panic that was passed on", p)
		}
	}()
	if _, err := h(m); err != nil { // it stays the router's
		x.note("the error of a "+name, err)
		return
	}
	x.w.ledger.published(id, "")
	x.w.ledger.repeats(id)
	x.w.ledger.effect(id)
}

// refusals are the errors of a broker that does not take a message.
func (x *witness) refusals(secret string) {
	small := &memory.Broker{Bound: 1, Limits: channel.Limits{Body: 100, Header: 100}}
	pub := small.Publisher()
	publish := func(payload string, headers ...string) {
		m := message.NewMessage("1", []byte(payload))
		m.Metadata[channel.HeaderKey], m.Metadata["x"] = secret, secret
		for _, h := range headers {
			m.Metadata["y"] = h
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(adapters.ErrFull)
		m.SetContext(ctx)
		x.note("the error of a publish", pub.Publish("topic", m))
	}
	long := ""
	for range 10 {
		long += secret
	}
	publish(long)
	publish(secret, long)
	publish(secret)
	publish(secret) // there is no room
	if err := small.Close(); err != nil {
		x.w.t.Error(err)
	}
	publish(secret)
	x.note("broker", small)
}
