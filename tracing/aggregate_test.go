package tracing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// member is an entry of the n-th span of the n-th trace, counted from 1; of none if the trace is 0.
func member(ofTrace, span int) channel.Entry {
	if ofTrace == 0 {
		return channel.NewEntry("m", "", nil, []byte("{}"))
	}
	return channel.NewEntry("m", "", channel.Fields{{Name: "traceparent", Value: parentOf(ofTrace, span)}}, []byte("{}"))
}

func parentOf(ofTrace, span int) string { return fmt.Sprintf("00-%032x-%016x-01", ofTrace, span) }

// folded is the one entry that stands for members, given by their traces: their spans are counted from 1.
func folded(traces ...int) channel.Entry {
	members := ""
	for i, tr := range traces {
		var carried channel.Fields
		if tr > 0 {
			carried = channel.Fields{{Name: "traceparent", Value: parentOf(tr, i+1)}}
		}
		members = channel.AddMember(members, i, carried)
	}
	return channel.NewEntry("m", "", channel.Fields{
		{Name: channel.HeaderMembers, Value: members}, {Name: channel.HeaderMemberCount, Value: fmt.Sprint(len(traces))},
	}, []byte("{}"))
}

func many(n int) (all []channel.Entry) {
	for i := range n {
		all = append(all, member(1, i+1))
	}
	return all
}

func manyFolded(n int) channel.Entry {
	traces := make([]int, n)
	for i := range traces {
		traces[i] = 1
	}
	return folded(traces...)
}

// Whose child an aggregate's span is, how many members it says it has, and how many of them it is linked
// to. The span of the context, if there is one, is the 99th of its trace.
func TestAggregate(t *testing.T) {
	for name, c := range map[string]struct {
		members []channel.Entry
		around  int // the trace of the context's span; 0: none
		link    bool
		parent  string
		links   int
		count   string
	}{
		"of one trace":                      {[]channel.Entry{member(1, 1), member(1, 2)}, 0, false, "1", 2, "2"},
		"of one trace, the context's too":   {[]channel.Entry{member(1, 1), member(1, 2)}, 1, false, "99", 2, "2"},
		"of one trace, another than that":   {[]channel.Entry{member(1, 1), member(1, 2)}, 2, false, "1", 2, "2"},
		"of two traces":                     {[]channel.Entry{member(1, 1), member(2, 2)}, 0, false, "", 2, "2"},
		"of two, the context's among them":  {[]channel.Entry{member(1, 1), member(2, 2)}, 2, false, "", 2, "2"},
		"one has no context":                {[]channel.Entry{member(1, 1), member(0, 0), member(1, 3)}, 1, false, "", 2, "3"},
		"none has":                          {[]channel.Entry{member(0, 0), member(0, 0)}, 1, false, "", 0, "2"},
		"linked, not in the trace":          {[]channel.Entry{member(1, 1), member(1, 2)}, 1, true, "", 2, "2"},
		"300 members":                       {many(300), 1, false, "99", 128, "300"},
		"folded, of one trace":              {[]channel.Entry{folded(1, 1, 1)}, 0, false, "1", 3, "3"},
		"folded, of one, the context's too": {[]channel.Entry{folded(1, 1, 1)}, 1, false, "99", 3, "3"},
		"folded, of two traces":             {[]channel.Entry{folded(1, 2, 1)}, 1, false, "", 3, "3"},
		"folded, one without a context":     {[]channel.Entry{folded(1, 0, 1)}, 1, false, "", 2, "3"},
		"folded of 300":                     {[]channel.Entry{manyFolded(300)}, 0, false, "", 128, "300"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &leattest.Traces{}
			ctx := context.Background()
			if c.around > 0 {
				ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
					TraceID: trace.TraceID{15: byte(c.around)}, SpanID: trace.SpanID{7: 0x99}, TraceFlags: trace.FlagsSampled,
				}))
			}
			_, span := tracer(t, x, func(k *tracing.Config) { k.LinkAggregates = c.link }).Aggregate(ctx, place, c.members, time.Time{})
			span.End()
			s := x.Spans()[0]
			parent := ""
			if s.Parent.IsValid() {
				parent = strings.TrimLeft(s.Parent.SpanID().String(), "0")
				if s.SpanContext.TraceID() != s.Parent.TraceID() {
					t.Error("it is in another trace than its parent")
				}
			}
			if got := s.Get(tracing.BatchCount); parent != c.parent || len(s.Links) != c.links || got != c.count {
				t.Errorf("parent %q, %d links, %s members; want %q, %d, %s", parent, len(s.Links), got, c.parent, c.links, c.count)
			}
			for i, l := range s.Links {
				if !l.SpanContext.IsValid() || !l.SpanContext.IsRemote() || i > 0 && l.SpanContext.SpanID() == s.Links[i-1].SpanContext.SpanID() {
					t.Errorf("link %d leads to %v", i, l.SpanContext.SpanID())
				}
			}
		})
	}
}

func TestAggregateBeginsWhenTimeSays(t *testing.T) {
	x := &leattest.Traces{}
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	_, span := tracer(t, x, nil).Aggregate(context.Background(), place, many(1), at)
	span.End()
	if got := x.Spans()[0].StartTime; !got.Equal(at) {
		t.Errorf("it began at %v; want %v", got, at)
	}
}
