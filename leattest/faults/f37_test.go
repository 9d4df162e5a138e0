package faults_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
)

// F37: each message carries a secret, in its payload and in its headers, and all sorts of trouble come
// over it. No span, no measurement, no log line, no error, no header that a dead letter is given, and
// nothing that is printed of a value, tells it. What may be told of a message: its id and the id of its
// conversation, its topic, the names of its headers, and what the user's own errors say.
func TestF37(t *testing.T) { fewer(t, 5, func(w *world) { f37(w, false) }) }

func TestF37CanFail(t *testing.T) {
	t.Run("an error that quotes its message", func(t *testing.T) {
		canFail(t, told, func(w *world) { f37(w, true) })
	})
}

const told = "told" // a secret

// A paper is an item with a secret in it.
type paper struct {
	item

	Secret string         `json:"secret"`
	At     time.Time      `json:"at,omitzero"`
	N      int            `json:"n,omitempty"`
	Any    map[string]any `json:"any,omitempty"`
}

const (
	papers  channel.Topic[paper]  = "papers"
	direct  channel.Topic[paper]  = "direct" // a hop in the process
	sorted  channel.Topic[paper]  = "sorted" // has no route
	bundles channel.Topic[paper]  = "bundles"
	sums    channel.Topic[paper]  = "sums"
	bundled channel.Topic[string] = "bundled"
	raw     channel.Topic[[]byte] = "raw"
	strict  channel.Topic[paper]  = "strict" // with channels for what is invalid and expired
)

var (
	errBad     = errors.New("it is bad")
	errMoody   = errors.New("not in the mood")
	errTrouble = fmt.Errorf("on my way: %w", errBad)
)

// A moody codec fails.
type moody struct{ channel.JSON }

func (moody) ContentType() string        { return "application/moody" }
func (moody) Decode([]byte, any) error   { return errMoody }
func (moody) Encode(any) ([]byte, error) { return nil, errMoody }

// A clerk does to a paper what its Fault says.
type clerk struct {
	x      *witness
	quotes bool
}

func (c clerk) Shape() channel.Shape {
	return channel.Shape{Pattern: "Clerk", Outlets: []channel.Outlet{
		channel.Out("on", direct), channel.Out("raw", raw), channel.Out("out", packed), {Name: "any", Topic: "any.*", Type: channel.Out("", direct).Type},
	}}
}

func (c clerk) Process(m channel.Message[paper]) (channel.Result, error) {
	x := m.Body
	forward := channel.Forward(direct, m)
	c.x.note("message", m)
	c.x.note("entry", m.Entry())
	c.x.note("delivery", channel.To(direct, x).Set("x", x.Secret))
	c.x.note("result", channel.Send(forward, channel.To(direct, x)))
	switch x.Fault {
	case "panic":
		panic(x)
	case "panic pointer":
		panic(&x)
	case "panic bytes":
		panic([]byte(x.Secret))
	case "panic error":
		panic(errTrouble)
	case "type assertion":
		_ = any(x).(fmt.Stringer)
	case "error":
		if c.quotes {
			return channel.Result{}, fmt.Errorf("%w: %+v", errBad, x)
		}
		return channel.Result{}, errTrouble
	case "header":
		_, _, err := channel.Header[int]("authorization").Get(m)
		c.x.note("error", err)
		return channel.Result{}, err
	case "header of many":
		_, _, err := channel.Header[struct{ A, B int }]("authorization").Get(m)
		return channel.Result{}, err
	case "bad header":
		return channel.Send(channel.Header[any]("x").Put(forward, json.Number(x.Secret))), nil
	case "undeclared":
		return channel.Send(channel.To("nowhere", x)), nil
	case "of another type":
		return channel.Send(channel.To(channel.Topic[string](direct), x.Secret)), nil
	case "unsaid":
		return channel.Result{}, nil
	case "stream":
		return channel.Stream(func(func(channel.Delivery, error) bool) {}), nil
	case "dead":
		return channel.Dead(errBad), nil
	case "too large":
		return channel.Send(channel.To(raw, []byte(strings.Repeat(x.Secret, 2000)))), nil
	case "header too large":
		return channel.Send(channel.ForwardRaw(raw, envelopeOf(m)).Set("long", strings.Repeat(x.Secret, 2000))), nil
	case "encode":
		return channel.Send(channel.To(channel.Topic[paper]("any.where"), paper{Any: map[string]any{x.Secret: json.Number(x.Secret)}})), nil
	case "encode over a direct hop":
		x.Any = map[string]any{x.Secret: json.Number(x.Secret)}
		x.Fault = "error"
		return channel.Send(channel.To(direct, x)), nil
	case "later":
		if m.Attempt() == 1 && c.x.w.dice.throws("later", x.ID) == 1 {
			return channel.Result{}, channel.Later(errTrouble, time.Second)
		}
	case "drop":
		c.x.w.ledger.effect(x.ID)
		return channel.Drop("not wanted"), nil
	}
	return channel.Send(forward), nil
}

// envelopeOf gives a message to forward as bytes.
func envelopeOf[T any](m channel.Message[T]) *channel.Envelope {
	var e channel.Envelope
	p, _ := m.Payload()
	e.Arrive(&channel.Arrival{Context: m.Context(), Topic: m.Topic(), ID: m.ID(), Payload: p})
	return &e
}

// work has the effect of a paper, or the faults that are for behind a direct hop.
func (c clerk) work(m channel.Message[paper]) error {
	switch m.Body.Fault {
	case "behind", "encode over a direct hop", "error":
		return errTrouble
	case "panic behind":
		panic(m.Body)
	}
	c.x.w.ledger.effect(m.Body.ID)
	return nil
}

func (c clerk) combine(_ string, all []paper) (string, error) {
	for _, p := range all {
		switch p.Fault {
		case "combine":
			return "", errTrouble
		case "panic combine":
			panic(all)
		}
	}
	for _, p := range all {
		c.x.w.ledger.effect(p.ID)
	}
	return all[0].Group, nil
}

func (c clerk) sum(acc string, p paper) (string, error) {
	if p.Fault == "fold" {
		return "", errTrouble
	}
	c.x.w.ledger.effect(p.ID)
	return acc + p.Secret, nil
}

// An onlooker shows the witness what passes.
type onlooker struct{ x *witness }

func (onlooker) Shape() channel.Shape { return channel.Shape{Pattern: "Onlooker"} }

func (o onlooker) Enter(e *channel.Envelope) (channel.Result, channel.Exit, error) {
	o.x.note("envelope", e)
	return channel.Result{}, func(r channel.Result, err error) (channel.Result, error) {
		o.x.note("result", r)
		if err != nil {
			o.x.note("error", err)
		}
		return r, err
	}, nil
}

func f37(w *world, quotes bool) {
	w.ledger.ordered = false
	s := newSecret(w)
	x := &witness{w: w, kind: told, wrong: s.in}
	x.tell.AttemptSpans, x.tell.LinkHops, x.tell.LinkAggregates = w.rnd.IntN(2) == 0, w.rnd.IntN(2) == 0, w.rnd.IntN(2) == 0
	c := clerk{x, quotes}
	p := w.process(w.rarely(30))
	var seen idempotency.Memory
	group := func(a *aggregator.Aggregator[paper, string]) *aggregator.Aggregator[paper, string] {
		a.Correlate, a.To, a.Size, a.Timeout = func(x paper) string { return x.Group + s.text }, bundled, 2, time.Minute
		a.Store = notedGroups{groupStore{real: &aggregator.Memory{}, p: p}, x}
		return a
	}
	parts := []flow.Part{
		flow.Step("clerk", papers, c, flow.Around(onlooker{x}, idempotency.Receiver{
			Store: notedSeen{seenStore{&seen, p}, x}, Key: func(e *channel.Envelope) string { return e.ID() + s.text },
		})),
		flow.Step("work", direct, endpoint.DoMessage(c.work), flow.Around(onlooker{x})),
		flow.Step("sort", sorted, router.Content(router.When("none", func(paper) bool { return false }, direct))),
		flow.Step("strict", strict, endpoint.DoMessage(c.work), flow.Around(channel.InvalidChannel{To: "invalid"}, channel.Expiry{To: "late"})),
		flow.Step("bundle", bundles, group(&aggregator.Aggregator[paper, string]{Combine: c.combine})),
		flow.Step("sum", sums, group(&aggregator.Aggregator[paper, string]{Fold: c.sum})),
		flow.Codec(moody{}, channel.Topic[int]("moody")), flow.Limits(channel.Limits{Body: 4096}), flow.History(),
		flow.Policy{Attempts: 2, Backoff: flow.Fixed(time.Second), DeadLetter: dead, OnRetry: func(r flow.Retry) {
			x.note("retry", r)
			x.note("error", r.Err)
		}},
	}
	if w.rnd.IntN(2) == 0 {
		parts = append(parts, flow.Direct(direct))
	}
	letters := x.letters()
	x.run(p, "office", w.rnd.IntN(2) == 0, parts...)
	sendPapers(w, s.text)
	pass(time.Hour)
	x.putBack(letters())
	pass(time.Hour)
	x.close()
}

// letters looks at the dead letters, and gives those there have been.
func (x *witness) letters() (all func() []*message.Message) {
	var letters []*message.Message
	w := x.w
	w.names = func(m *message.Message) []string { return []string{cmp.Or(m.Metadata["item"], m.UUID)} }
	w.dead = func(m *message.Message) {
		x.letter(m)
		w.mu.Lock()
		defer w.mu.Unlock()
		letters = append(letters, m.Copy())
	}
	return func() []*message.Message {
		w.mu.Lock()
		defer w.mu.Unlock()
		return letters
	}
}

// putBack publishes dead letters again, each once.
func (x *witness) putBack(letters []*message.Message) {
	w := x.w
	for _, l := range letters {
		topic, m, err := flow.PutBack(l)
		if err != nil {
			x.note("the error of PutBack", err)
			continue
		}
		w.ledger.repeats(cmp.Or(m.Metadata["item"], m.UUID))
		if err := w.broker.Publisher().Publish(topic, m); err != nil {
			w.t.Errorf("putting back: %v", err)
		}
	}
}
