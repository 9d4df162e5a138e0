package faults_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
)

// F30: ids, keys, names and values of headers are whatever an enemy writes there: line ends, NUL, bytes that
// are no text, too much of it, our own headers forged. Each message is processed, or refused by an error
// with a name, or dropped by one; the others never notice. Traces are whole. What is logged, measured and
// said of errors is text in one line.
func TestF30(t *testing.T) { seeds(t, func(w *world) { f30(w, false) }) }

func TestF30CanFail(t *testing.T) {
	t.Run("an error that repeats what it read", func(t *testing.T) {
		canFail(t, untidy, func(w *world) { f30(w, true) })
	})
}

const untidy = "untidy" // a text with a control character in it, or that is none

// tidy says what is wrong with a text for a log or a label.
func tidy(text string) string {
	if !utf8.ValidString(text) {
		return "no UTF-8"
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return fmt.Sprintf("a control character at byte %d", i)
	}
	return ""
}

// An enemy's texts.
var nasty = []string{
	"a\r\nb: c", "\r\n\r\n{\"level\":\"ERROR\"}", "\x00", "a\x00b", "\xff\xfe\xfd", "\xed\xa0\x80", "\u2028\u2029\u0085", "\x1b[31mred\x1b[0m",
	"\u202egnp.exe", `","x":"`, "' OR 1=1 --", "../../etc/passwd", "%0d%0a%00", "{{.Env}}", "NaN", "-1", "99999999999999999999", "\t", " ", "💣",
}

// The headers that something is made of.
var forgeable = []string{
	channel.HeaderContentType, channel.HeaderSchema, channel.HeaderExpires, channel.HeaderHops, channel.HeaderConversation, channel.HeaderOriginal,
	channel.HeaderSequence, channel.HeaderSequenceIndex, channel.HeaderSequenceSize, channel.HeaderSequenceOuter, channel.HeaderCompleted,
	channel.HeaderHistory, channel.HeaderReason, channel.HeaderOnly, channel.HeaderPutBack, channel.HeaderKey,
	flow.DeadFlow, flow.DeadStep, flow.DeadScope, flow.DeadError, flow.DeadClass, flow.DeadAttempts, flow.DeadFirst, flow.DeadTopic, flow.DeadOrigin,
	flow.DeadStack, flow.DeadDirect, flow.DeadSize, flow.DeadSHA256, "traceparent", "tracestate", "baggage", channel.HeaderMembers,
}

// nastily gives an enemy's text, now and then a long one.
func (w *world) nastily() string {
	s := nasty[w.rnd.IntN(len(nasty))]
	switch w.rnd.IntN(12) {
	case 0:
		return strings.Repeat(s, 8<<10/len(s))
	case 1:
		return strings.Repeat(s, 64<<10/len(s))
	case 2, 3:
		return s + nasty[w.rnd.IntN(len(nasty))]
	}
	return s
}

// forge gives a message some of an enemy's headers.
func (w *world) forge(m *message.Message) {
	for range w.rnd.IntN(6) {
		m.Metadata[w.nastily()] = w.nastily()
	}
	for range w.rnd.IntN(6) {
		name := forgeable[w.rnd.IntN(len(forgeable))]
		m.Metadata[name] = w.nastily()
		switch name {
		case "traceparent":
			m.Metadata[name] = w.traceparent()
		case channel.HeaderMembers:
			m.Metadata[name] = "traceparent=00-00000000000000000000000000000001-0000000000000001-01&x=y"
			m.Metadata[channel.HeaderMemberCount] = "1000000"
		case channel.HeaderExpires:
			m.Metadata[name] = []string{"1999-01-01T00:00:00Z", "9999-12-31T23:59:59Z", w.nastily()}[w.rnd.IntN(3)]
		case channel.HeaderOnly:
			m.Metadata[name] = []string{"enemy/route", "enemy/do", w.nastily()}[w.rnd.IntN(3)]
		case channel.HeaderContentType:
			m.Metadata[name] = []string{"application/json", "application/octet-stream", w.nastily()}[w.rnd.IntN(3)]
		}
	}
}

// traceparent gives one that is well formed, or nearly.
func (w *world) traceparent() string {
	good := fmt.Sprintf("00-%016x%016x-%016x-01", w.rnd.Uint64()|1, w.rnd.Uint64(), w.rnd.Uint64()|1)
	switch w.rnd.IntN(8) {
	case 0:
		return good[:40]
	case 1:
		return "ff" + good[2:]
	case 2:
		return strings.ToUpper(good)
	case 3:
		return good + "\r\nx: y"
	case 4:
		return "00-00000000000000000000000000000000-0000000000000000-01"
	case 5:
		return w.nastily()
	}
	return good
}

// widen gives the world a broker that takes everything.
func (w *world) widen() {
	if err := w.broker.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.dying.Wait()
	const all = 1 << 24
	w.broker = &memory.Broker{Order: w.broker.Order, DrainTimeout: time.Second, Limits: channel.Limits{Body: all, Headers: all, Header: all, HeaderBytes: all}}
	w.bury()
}

// An enemyFlow routes items by their Fault, over a direct hop or a broker's.
func enemyFlow(w *world, x *witness, repeats, directly bool) []flow.Part {
	do := func(m channel.Message[item]) error {
		w.ledger.effect(m.Body.ID)
		return nil
	}
	combine := func(key string, all []item) (pack, error) {
		for _, m := range all {
			w.ledger.effect(m.ID)
		}
		return combine(key, all)
	}
	parts := []flow.Part{
		flow.Step("route", incoming, router.Content(
			router.When("do", func(m item) bool { return m.Fault == "" }, out),
			router.When("group", func(m item) bool { return m.Fault == "group" }, lines),
		), flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}})),
		flow.Step("do", out, endpoint.DoMessage(do)),
		flow.Step("pack", lines, &aggregator.Aggregator[item, pack]{
			Correlate: func(m item) string { return m.Group }, Combine: combine, To: packed, Size: 3, Timeout: time.Minute,
			Store: &aggregator.Memory{},
		}),
		flow.Codec(channel.Raw{}, channel.Topic[int]("none")), flow.Workers(1 + w.rnd.IntN(4)),
		flow.Policy{Attempts: 2, Backoff: flow.Fixed(time.Second), DeadLetter: dead, OnRetry: func(r flow.Retry) { x.look("error", r.Err.Error()) }},
		flow.Around(reader{x, repeats}),
	}
	if w.rnd.IntN(2) == 0 {
		parts = append(parts, flow.History())
	}
	if directly {
		parts = append(parts, flow.Direct(out, lines))
	}
	return parts
}

// A reader looks at every error.
type reader struct {
	x       *witness
	repeats bool
}

func (reader) Shape() channel.Shape { return channel.Shape{Pattern: "Reader"} }

func (r reader) Enter(e *channel.Envelope) (channel.Result, channel.Exit, error) {
	return channel.Result{}, func(res channel.Result, err error) (channel.Result, error) {
		if err != nil && r.repeats {
			err = fmt.Errorf("%w: %s", err, e.ID())
		}
		if err != nil {
			r.x.look("error", err.Error())
		}
		return res, err
	}, nil
}

func f30(w *world, repeats bool) {
	w.widen()
	w.ledger.ordered = false
	x := &witness{w: w, kind: untidy, wrong: tidy}
	x.tell = tracing.Config{AttemptSpans: w.rnd.IntN(2) == 0, LinkHops: w.rnd.IntN(3) == 0, LinkAggregates: w.rnd.IntN(3) == 0}
	w.names = func(m *message.Message) []string { return []string{m.UUID} }
	w.dead = x.letter
	p := w.process(nil)
	directly := w.rnd.IntN(2) == 0
	x.run(p, "enemy", w.rnd.IntN(2) == 0, enemyFlow(w, x, repeats, directly)...)
	byID := map[string]string{} // the name in the ledger
	w.names = func(m *message.Message) []string {
		w.mu.Lock()
		defer w.mu.Unlock()
		if name, ok := byID[m.UUID]; ok {
			return []string{name}
		}
		if i := strings.Index(string(m.Payload), `"id":"`); i >= 0 {
			name, _, _ := strings.Cut(string(m.Payload[i+6:]), `"`)
			return []string{name}
		}
		return []string{m.UUID}
	}
	dropped := 0
	for i := range 40 {
		name := fmt.Sprint("m", i)
		body := item{ID: name, Fault: []string{"", "group", "nowhere"}[w.rnd.IntN(3)], Group: fmt.Sprint("g", w.rnd.IntN(4))}
		m := message.NewMessage(name, encode(body))
		if friend := i%4 == 0; friend {
			body.Group = "friends" // a group takes over the hops and the headers of an enemy in it
			m.Payload = encode(body)
			if body.Fault == "nowhere" {
				w.ledger.dies(name)
			}
		} else {
			w.ledger.mayDie(name)
			w.ledger.repeats(name)
			m.UUID = name + w.nastily()
			m.Metadata[channel.HeaderKey] = w.nastily()
			if w.rnd.IntN(6) == 0 {
				m.Payload = []byte("!" + w.nastily()) // one of them would be JSON
			}
			w.forge(m)
			if tp := m.Metadata["traceparent"]; tp != "" {
				x.traces.From(tp)
			}
			if only := m.Metadata[channel.HeaderOnly]; only != "" && only != "enemy/route" {
				dropped++
				w.ledger.effect(name) // nothing is to be done: it says it is for another step
			}
		}
		w.mu.Lock()
		byID[m.UUID] = name
		w.mu.Unlock()
		topic := incoming
		if !directly && m.Metadata[channel.HeaderMembers] != "" && m.Metadata[channel.HeaderOnly] == "" && body.Fault == "group" {
			topic = lines // where it would count
		}
		if err := w.broker.Publisher().Publish(string(topic), m); err != nil {
			w.t.Fatalf("publishing: %v", err)
		}
		w.ledger.published(name, "")
	}
	pass(time.Hour)
	x.close()
	// Over direct hops a group that dies may take the member with it that somebody else was about to bury.
	c := p.flow.Counts()["route"]
	if got := c.DroppedAll() - c.Dropped["released elsewhere"]; got != int64(dropped) {
		w.t.Errorf("%d messages were dropped; want %d: %v", got, dropped, c)
	}
}

// A trace context that somebody has made up puts a message into a trace and does nothing else: the same
// goes to the same topics, with the same headers, and dies of the same.
func TestF30Spoofed(t *testing.T) {
	seeds(t, func(w *world) {
		spoofed := newWorld(w.t, w.seed)
		honest := spoof(w, false)
		forged := spoof(spoofed, true)
		for what, n := range honest {
			if forged[what] != n {
				w.t.Errorf("with a context %d times, without one %d: %s", forged[what], n, what)
			}
		}
		if len(forged) != len(honest) {
			w.t.Errorf("with a context there are %d, without one %d", len(forged), len(honest))
		}
		if r := spoofed.end(); !r.zero() {
			w.t.Errorf("with a context: %v", r)
		}
	})
}

// spoof gives what came of messages, and how often.
func spoof(w *world, forged bool) map[string]int {
	came := map[string]int{}
	w.ledger.ordered = false
	x := &witness{w: w, kind: untidy, wrong: tidy}
	see := func(topic string, m *message.Message) {
		var hs []string
		for name, value := range m.Metadata {
			switch name {
			case "traceparent", "tracestate", "baggage", flow.DeadFirst, flow.DeadLast, flow.DeadStack, flow.DeadOrigin:
			default:
				hs = append(hs, name+"="+value)
			}
		}
		slices.Sort(hs)
		w.mu.Lock()
		defer w.mu.Unlock()
		id := m.UUID
		if topic == "packed" { // a group's has the time in it when it was opened
			id = ""
		}
		came[fmt.Sprint(topic, id, string(m.Payload), hs)]++
	}
	w.dead = func(m *message.Message) { see("dead", m) }
	p := w.process(nil)
	x.run(p, "enemy", false, enemyFlow(w, x, false, w.rnd.IntN(2) == 0)...)
	sub := w.broker.Subscriber("see")
	packs, err := sub.Subscribe(w.t.Context(), string(packed))
	if err != nil {
		w.t.Fatal(err)
	}
	w.dying.Go(func() {
		for m := range packs {
			see("packed", m)
			m.Ack()
		}
	})
	for i := range 12 {
		name := fmt.Sprint("m", i)
		body := item{ID: name, Fault: []string{"", "group", "nowhere"}[i%3], Group: "g"}
		if body.Fault == "nowhere" {
			w.ledger.dies(name)
		}
		m := message.NewMessage(name, encode(body))
		tp := fmt.Sprintf("00-%032x-%016x-01", i+1, i+1)
		if forged {
			m.Metadata["traceparent"], m.Metadata["tracestate"], m.Metadata["baggage"] = tp, "enemy=1", "user=root"
			x.traces.From(tp)
		}
		if err := w.broker.Publisher().Publish(string(incoming), m); err != nil {
			w.t.Fatal(err)
		}
		w.ledger.published(name, "")
		pass(time.Second)
		x.joins(name, tp, forged)
	}
	pass(time.Hour)
	x.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(came)
}

// joins sees that a message is processed in the trace it came with, or in one of its own.
func (x *witness) joins(id, traceparent string, forged bool) {
	n := 0
	for _, s := range x.traces.Spans() {
		if s.Get(tracing.MessageID) != id || s.Op() != tracing.OpProcess {
			continue
		}
		n++
		if in := s.SpanContext.TraceID().String() == traceparent[3:35]; in != forged || forged != s.Parent.IsRemote() {
			x.w.t.Errorf("message %s came with %s: %t, and its span is in %s, with the parent %s", id, traceparent, forged, s.SpanContext.TraceID(), s.Parent.SpanID())
		}
	}
	if n != 1 {
		x.w.t.Errorf("message %s has %d spans", id, n)
	}
}
