package docs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// record runs an example and gives its spans.
func record(example func()) (spans []leattest.Span) {
	var x leattest.Traces // for the one that is not run by the kit
	otel.SetTracerProvider(x.Config().TracerProvider)
	traces = func(more []leattest.Span) { spans = append(spans, more...) }
	stdout := os.Stdout
	defer func() {
		otel.SetTracerProvider(noop.NewTracerProvider())
		traces, os.Stdout = nil, stdout
	}()
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		defer null.Close()
		os.Stdout = null
	}
	example()
	return append(spans, x.Spans()...)
}

// A forest is the spans of an example, by their parents; "" has those whose parent is elsewhere.
type forest struct {
	below map[string][]leattest.Span
	names map[string]string
	width int
}

// trace gives the trace of an example as a tree: each span with what tells it from others.
func trace(name string) (string, error) {
	example := examples[name]
	if example == nil {
		return "", errors.New("there is no such example: add it to the examples of internal/docs")
	}
	spans := record(example)
	f := forest{map[string][]leattest.Span{}, map[string]string{}, 0}
	for _, s := range spans {
		f.names[s.SpanContext.SpanID().String()] = s.Name
	}
	for _, s := range spans {
		parent := s.Parent.SpanID().String()
		if f.names[parent] == "" {
			parent = ""
		}
		f.below[parent] = append(f.below[parent], s)
	}
	f.measure("", 0)
	return f.tree("", 0), nil
}

// indent is how far a span stands to the right of its parent.
const indent = "   "

// measure gives the longest name its room.
func (f *forest) measure(parent string, depth int) {
	for _, s := range f.below[parent] {
		f.width = max(f.width, depth*len(indent)+len(s.Name)+2)
		f.measure(s.SpanContext.SpanID().String(), depth+1)
	}
}

// tree gives the spans below one, in the order of their beginnings; of one moment, messages before what
// else there is, then by their texts.
func (f *forest) tree(parent string, depth int) string {
	var texts []string
	begins, kinds := map[string]time.Time{}, map[string]oteltrace.SpanKind{}
	for _, s := range f.below[parent] {
		text := fmt.Sprintf("%-*s%s\n", f.width, strings.Repeat(indent, depth)+s.Name, f.describe(s)) +
			f.tree(s.SpanContext.SpanID().String(), depth+1)
		texts = append(texts, text)
		begins[text], kinds[text] = s.StartTime, s.SpanKind
	}
	slices.SortFunc(texts, func(a, b string) int {
		return cmp.Or(begins[a].Compare(begins[b]), cmp.Compare(kinds[b], kinds[a]), strings.Compare(a, b))
	})
	return strings.Join(texts, "")
}

// describe says of a span its kind, step, route, outcome and reason, its events, status and links.
func (f *forest) describe(s leattest.Span) string {
	said := []string{strings.ToUpper(s.SpanKind.String())}
	for _, name := range []string{tracing.Step, tracing.Route, tracing.Outcome, tracing.Reason, tracing.Attempt} {
		if v := s.Get(name); v != "" {
			said = append(said, strings.TrimPrefix(name, "eip.")+" "+v)
		}
	}
	for _, e := range s.Events {
		said = append(said, "event "+e.Name)
	}
	if s.Status.Code == codes.Error {
		said = append(said, "status error")
	}
	linked := map[string]int{}
	for _, l := range s.Links {
		linked[f.names[l.SpanContext.SpanID().String()]]++
	}
	for _, name := range slices.Sorted(maps.Keys(linked)) {
		said = append(said, fmt.Sprintf("linked to %d %s", linked[name], name))
	}
	return strings.Join(said, ", ")
}
