package flow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// A tracedRig is a rig whose flow is traced.
type tracedRig struct {
	*rig

	traces *leattest.Traces
}

// newTraced runs a traced flow "f" of the parts. change changes how it is traced; nil: not at all.
func newTraced(t *testing.T, how string, change func(*tracing.Config), parts ...flow.Part) tracedRig {
	t.Helper()
	x := &leattest.Traces{}
	c := x.Config()
	if change != nil {
		change(&c)
	}
	return tracedRig{newRig(t, how, append(slices.Clip(parts), flow.Tracing(c))...), x}
}

// looks ends the flow and compares its traces, as the function tree writes them.
func (r tracedRig) looks(want string) {
	r.T.Helper()
	r.stop()
	compareTree(r.T, r.traces.Spans(), want)
}

func compareTree(t testing.TB, spans []leattest.Span, want string) {
	t.Helper()
	want = strings.ReplaceAll(strings.TrimPrefix(want, "\n"), "\t", "  ")
	if got := tree(spans); got != want {
		t.Errorf("traces\n%swant\n%s", got, want)
	}
}

// tree writes traces down: a line for each span, what it is of, "= outcome", "! class of the error", its
// events, "~ links"; its children below it, in the order of the text. A parent that is nowhere is a "?".
func tree(spans []leattest.Span) string {
	below := map[trace.SpanID][]leattest.Span{}
	known := map[trace.SpanID]bool{}
	for _, s := range spans {
		known[s.SpanContext.SpanID()] = true
	}
	for _, s := range spans {
		below[s.Parent.SpanID()] = append(below[s.Parent.SpanID()], s)
	}
	var write func(of trace.SpanID, indent string) []string
	write = func(of trace.SpanID, indent string) (blocks []string) {
		for _, s := range below[of] {
			block := indent + said(&s) + "\n" + strings.Join(write(s.SpanContext.SpanID(), indent+"  "), "")
			blocks = append(blocks, block)
		}
		slices.Sort(blocks)
		return blocks
	}
	roots := write(trace.SpanID{}, "")
	for parent := range below {
		if parent.IsValid() && !known[parent] {
			roots = append(roots, write(parent, "? ")...)
		}
	}
	slices.Sort(roots)
	return strings.Join(roots, "")
}

func said(s *leattest.Span) string {
	text := s.Name
	if step := s.Get(tracing.Step); step != "" {
		text += " @" + step
	}
	if s.Get(tracing.Direct) != "" {
		text += " direct"
	}
	if o := s.Get(tracing.Outcome); o != "" {
		text += " = " + o
	}
	if r := s.Get(tracing.Reason); r != "" {
		text += " (" + r + ")"
	}
	if s.Status.Code == codes.Error {
		text += " ! " + s.Get(tracing.ErrorType)
	}
	for _, e := range s.Events {
		text += ", " + e.Name
	}
	if n := len(s.Links); n > 0 {
		text += fmt.Sprintf(" ~%d", n)
	}
	return text
}

// find gives the one span of that name.
func find(t testing.TB, spans []leattest.Span, name string) leattest.Span {
	t.Helper()
	found := all(spans, name)
	if len(found) != 1 {
		t.Fatalf("%d spans %q in\n%s", len(found), name, tree(spans))
	}
	return found[0]
}

// all gives the spans of that name.
func all(spans []leattest.Span, name string) (found []leattest.Span) {
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// traceparent is what a span's context is in a header.
func traceparent(sc trace.SpanContext) string {
	return fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags())
}

// sameTrace reports whether two spans are of one trace.
func sameTrace(a, b leattest.Span) bool {
	return a.SpanContext.TraceID() == b.SpanContext.TraceID()
}

// linkedTo reports whether a link leads to the span.
func linkedTo(s leattest.Span) func(sdktrace.Link) bool {
	return func(l sdktrace.Link) bool {
		return l.SpanContext.SpanID() == s.SpanContext.SpanID() && l.SpanContext.TraceID() == s.SpanContext.TraceID()
	}
}

// event gives an event's attributes, to be read as a span's are.
func event(s leattest.Span, i int) *leattest.Span {
	var e leattest.Span
	e.Name, e.Attributes = s.Events[i].Name, s.Events[i].Attributes
	return &e
}
