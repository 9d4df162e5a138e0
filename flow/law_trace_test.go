package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// A tour is a flow with every kind of edge, and messages that go along each of them.
type tour struct {
	traces leattest.Traces
	groups aggregator.Memory
	broker memory.Broker
	direct bool
}

const (
	tourIn, tourHop, tourParts, tourLost channel.Topic[string] = "tour.in", "tour.hop", "tour.parts", "tour.lost"
	tourOut                              channel.Topic[string] = "tour.out"
	tourDead                             channel.Topic[[]byte] = "tour.dead"
)

// rogue sends where it does not say it does.
type rogue struct{ channel.Processor[string] }

func (r rogue) Process(m channel.Message[string]) (channel.Result, error) {
	if m.Body == "rogue" {
		return channel.Send(channel.Forward("secret", m)), nil
	}
	return r.Processor.Process(m)
}

var errTour = errors.New("it is bad")

// bad fails for good where the text says so; "twice" fails at the first attempt.
func bad(s string) (string, error) {
	if strings.Contains(s, "bad") {
		return "", errTour
	}
	return s, nil
}

func (x *tour) flow(t *testing.T) *flow.Flow {
	t.Helper()
	group := &aggregator.Aggregator[string, string]{
		Correlate: func(s string) string { return s[:1] },
		Combine:   func(_ string, all []string) (string, error) { return bad(strings.Join(all, "+")) },
		To:        tourOut, Size: 3, Timeout: time.Second, Store: &x.groups,
	}
	parts := []flow.Part{
		flow.Policy{Attempts: 2, Backoff: flow.Fixed(time.Second), DeadLetter: tourDead},
		flow.Tracing(x.traces.Config()),
		flow.Step("route", tourIn, channel.Processor[string](rogue{router.Content(
			router.When("hop", func(s string) bool { return strings.HasPrefix(s, "h") }, tourHop),
			router.When("group", func(s string) bool { return strings.HasPrefix(s, "g") }, tourParts),
			router.When("lost", func(s string) bool { return s == "lost" }, tourLost),
		)}), flow.Around(channel.InvalidChannel{To: "tour.invalid"}, channel.Expiry{To: "tour.late"})),
		flow.Step("map", tourHop, translator.Map(bad, tourOut)),
		flow.Step("group", tourParts, group),
		flow.Step("end", tourOut, endpoint.Do(func(_ context.Context, s string) error { _, err := bad(s); return err })),
	}
	if x.direct {
		parts = append(parts, flow.Direct(tourHop, tourParts))
	}
	f, err := flow.New("tour", parts...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// publish sends messages along every edge.
func (x *tour) publish(t *testing.T) {
	t.Helper()
	pub := x.broker.Publisher()
	send := func(topic string, i int, body string) {
		m := message.NewMessage(fmt.Sprint(topic, i), []byte(body))
		if strings.Contains(body, "late") {
			m.Metadata[channel.HeaderExpires] = "1999-01-01T00:00:00Z"
		}
		if err := pub.Publish(topic, m); err != nil {
			t.Fatal(err)
		}
	}
	for i, body := range []string{`"h"`, `"h bad"`, `"g1"`, `"g2"`, `"g3"`, `"g4"`, `"lost"`, `"rogue"`, `"nowhere"`, `1`, `"h late"`} {
		send(string(tourIn), i, body)
	}
	send(string(tourOut), 0, `"bad"`)
	time.Sleep(10 * time.Second)
	send(string(tourIn), 100, `"g bad"`)
	time.Sleep(time.Minute)
	synctest.Wait()
}

func (x *tour) run(t *testing.T, run func(f *flow.Flow) (stop func())) {
	t.Helper()
	defer x.broker.Close()
	a, b := x.flow(t), x.flow(t)
	stops := []func(){run(a), run(b)}
	x.publish(t)
	for _, stop := range stops {
		stop()
	}
	x.traces.Check(t, a)
	x.traces.Covers(t, a)
	x.retries(t, a, b)
	x.letters(t, a)
	x.members(t, a, b)
}

// members: the aggregates, with the members that died, are linked to as many as the accounting says were
// released, and those that completed a group without being held.
func (x *tour) members(t *testing.T, fs ...*flow.Flow) {
	t.Helper()
	links, want := 0, int64(0)
	for _, s := range x.traces.Of(fs[0], "group") {
		switch {
		case s.Op() == tracing.OpAggregate && s.Get(tracing.Inlet) == "":
			want++
			links += len(s.Links)
		case s.Op() == tracing.OpAggregate:
			links += len(s.Links)
		case s.Get(tracing.Letter) != "":
			links++
		}
	}
	for _, f := range fs {
		want += f.Counts()["group"].Released
	}
	if int64(links) != want || links < 5 {
		t.Errorf("aggregates are linked to %d members; the accounting has %d", links, want)
	}
}

// retries: each is an event of the message's span.
func (x *tour) retries(t *testing.T, fs ...*flow.Flow) {
	t.Helper()
	for _, name := range []string{"route", "map", "group", "end"} {
		var want int64
		for _, f := range fs {
			want += f.Counts()[name].Retries
		}
		var got int64
		for _, s := range x.traces.Of(fs[0], name) {
			got += int64(s.Count(tracing.EventRetry))
		}
		if got != want {
			t.Errorf("step %s tried again %d times, its spans tell of %d", name, want, got)
		}
	}
}

// letters: each dead letter carries the trace of the span that sent it, below one that failed.
func (x *tour) letters(t *testing.T, f *flow.Flow) {
	t.Helper()
	spans := x.traces.Of(f)
	n := 0
	for _, s := range spans {
		if s.Get(tracing.Letter) == "" {
			continue
		}
		n++
		i := slices.IndexFunc(spans, func(p leattest.Span) bool { return p.SpanContext.SpanID() == s.Parent.SpanID() })
		if i < 0 || spans[i].Status.Code.String() != "Error" || spans[i].Get(tracing.Outcome) != "dead" {
			t.Errorf("dead letter %s hangs below %+v", s.Get(tracing.MessageID), spans[i])
		}
	}
	if n != 5 {
		t.Errorf("%d dead letters; want 5", n)
	}
}

// Breaks if a message can go where no arrow is; if the drawing forgets interceptors, clocks or dead letters;
// if a span is an orphan; or if an aggregate is not linked to each of its members. With two instances.
func TestLaw4TracesAreTheDrawing(t *testing.T) {
	for _, direct := range []bool{false, true} {
		name := map[bool]string{false: "broker", true: "direct"}[direct]
		for _, driver := range []leattest.Driver{leattest.Engine, leattest.Router} {
			t.Run(driver.String()+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x := &tour{direct: direct}
					x.run(t, func(f *flow.Flow) func() {
						_, stop := driver.Launch(t, f, x.broker.Publisher(), x.broker.Subscriber("tour"))
						return stop
					})
				})
			})
		}
	}
}
