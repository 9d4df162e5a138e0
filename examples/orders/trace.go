package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/tracing"
)

// A tracer keeps every span and draws them as trees. A program that runs for longer exports them to Jaeger or
// its like: give flow.Tracing that provider, or set the global one and give it nothing.
type tracer struct {
	spans    *tracetest.InMemoryExporter
	provider *sdktrace.TracerProvider
	times    bool // draw durations
}

func newTracer(times bool) *tracer {
	spans := tracetest.NewInMemoryExporter()
	return &tracer{spans, sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), times}
}

// part is what the flow is given.
func (t *tracer) part() flow.Part { return flow.Tracing(tracing.Config{TracerProvider: t.provider}) }

// A forest is all spans, by what they are below.
type forest struct {
	byID   map[trace.SpanID]*tracetest.SpanStub
	below  map[trace.SpanID][]*tracetest.SpanStub
	roots  []*tracetest.SpanStub
	places map[string]int // of orders, as they came
	times  bool
}

// write draws the trace of each order, and after it those that go on with it.
func (t *tracer) write(out io.Writer, l *ledger) error {
	f := forest{
		byID: map[trace.SpanID]*tracetest.SpanStub{}, below: map[trace.SpanID][]*tracetest.SpanStub{},
		places: l.places(), times: t.times,
	}
	spans := t.spans.GetSpans()
	for i := range spans {
		f.byID[spans[i].SpanContext.SpanID()] = &spans[i]
	}
	for i := range spans {
		if s := &spans[i]; f.byID[s.Parent.SpanID()] != nil {
			f.below[s.Parent.SpanID()] = append(f.below[s.Parent.SpanID()], s)
		} else {
			f.roots = append(f.roots, s)
		}
	}
	slices.SortStableFunc(f.roots, func(a, b *tracetest.SpanStub) int {
		return cmp.Or(cmp.Compare(f.places[f.about(a)], f.places[f.about(b)]), a.StartTime.Compare(b.StartTime))
	})
	var b strings.Builder
	for _, s := range f.roots {
		title := "\ntrace of order %s\n"
		if len(s.Links) > 0 { // it is linked to where it comes from
			title = "\nanother trace of order %s\n"
		}
		fmt.Fprintf(&b, title, f.about(s))
		f.draw(&b, s, "", "")
	}
	b.WriteByte('\n')
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("drawing traces: %w", err)
	}
	return nil
}

// about is the order that a span is about: the message that began it all. An aggregate is no message, but
// sends one.
func (f *forest) about(s *tracetest.SpanStub) string {
	if order := attribute(s, tracing.Conversation); order != "" {
		return order
	}
	for _, child := range f.below[s.SpanContext.SpanID()] {
		return f.about(child)
	}
	return ""
}

func attribute(s *tracetest.SpanStub, name string) string {
	for _, kv := range s.Attributes {
		if string(kv.Key) == name {
			return kv.Value.String()
		}
	}
	return ""
}

// draw draws a span and what is below it: first is what stands before its line, rest before the others.
func (f *forest) draw(b *strings.Builder, s *tracetest.SpanStub, first, rest string) {
	fmt.Fprintf(b, "%s%s\n", first, f.describe(s))
	type child struct {
		at   time.Time
		text string // of an event
		span *tracetest.SpanStub
	}
	var children []child
	for _, e := range s.Events {
		children = append(children, child{at: e.Time, text: happened(e)})
	}
	for _, c := range f.below[s.SpanContext.SpanID()] {
		children = append(children, child{at: c.StartTime, span: c})
	}
	slices.SortStableFunc(children, func(a, b child) int { return a.at.Compare(b.at) })
	for i, c := range children {
		fork, line := "├─ ", "│  "
		if i == len(children)-1 {
			fork, line = "└─ ", "   "
		}
		if c.span == nil {
			fmt.Fprintf(b, "%s%s* %s\n", rest, fork, c.text)
			continue
		}
		f.draw(b, c.span, rest+fork, rest+line)
	}
}

// happened gives an event in a line, without the pause that follows it: -times shows how long things took.
func happened(e sdktrace.Event) string {
	parts := []string{e.Name}
	for _, kv := range e.Attributes {
		if string(kv.Key) != tracing.Pause {
			parts = append(parts, strings.TrimPrefix(string(kv.Key), "eip.")+"="+kv.Value.String())
		}
	}
	return strings.Join(parts, " ")
}

// describe gives a span in a line: what is done, by which step, what came of it, and what it is linked to.
func (f *forest) describe(s *tracetest.SpanStub) string {
	text := s.Name
	if strings.HasPrefix(text, tracing.OpProcess+" ") { // a send is of the step above it
		text += " [" + attribute(s, tracing.Step) + "]"
	}
	if outcome := attribute(s, tracing.Outcome); outcome != "" {
		text += " " + outcome
	}
	parts := []string{text}
	if s.Status.Description != "" {
		parts = append(parts, "error: "+s.Status.Description)
	}
	parts = append(parts, f.links(s)...)
	if f.times {
		parts = append(parts, s.EndTime.Sub(s.StartTime).Round(time.Microsecond).String())
	}
	return strings.Join(parts, ", ")
}

// links names what a span is linked to.
func (f *forest) links(s *tracetest.SpanStub) (texts []string) {
	count := map[string]int{}
	for _, link := range s.Links {
		if to := f.byID[link.SpanContext.SpanID()]; to != nil {
			count[to.Name]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		if n := count[name]; n > 1 {
			texts = append(texts, fmt.Sprintf("linked to %d x %s", n, name))
		} else {
			texts = append(texts, "linked to "+name)
		}
	}
	return texts
}
