package flow_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// seenOrNot runs a test with tracing and without: a limit that holds for one holds for the other.
func seenOrNot(t *testing.T, test func(t *testing.T, how string, change func(*tracing.Config)), ways ...string) {
	t.Helper()
	for name, off := range map[string]bool{"traced": false, "off": true} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				test(t, how, func(c *tracing.Config) { c.Off = off })
			}, ways...)
		})
	}
}

// A heap is the state of a fold: more bytes than a letter has room for headers.
type heap struct {
	N    int
	Blob string
}

// Breaks if the traces of a folded group's members take so much of a dead letter's room that its payload,
// which is the group, is cut.
func TestTraceLetterOfAFoldKeepsItsPayload(t *testing.T) {
	const members = 125
	seenOrNot(t, func(t *testing.T, how string, change func(*tracing.Config)) {
		g := &aggregator.Aggregator[parcel, heap]{
			Correlate: func(p parcel) string { return p.Kind }, To: channel.Topic[heap]("heaps"), Store: &aggregator.Memory{}, Timeout: time.Minute,
			Fold: func(acc heap, _ parcel) (heap, error) { return heap{acc.N + 1, strings.Repeat("x", 8000)}, nil },
		}
		r := newTraced(t, how, change, flow.Step("glue", arrivals, g), quick())
		r.fail = func(topic, _ string, _ int) error {
			if topic == "heaps" {
				return channel.Permanent(errWire)
			}
			return nil
		}
		for i := range members {
			r.giveRaw("arrivals", fmt.Sprint(i), "", []byte(`{"Kind":"a"}`))
		}
		r.wait(time.Hour)
		letters := r.on("dead")
		if len(letters) != 1 {
			t.Fatalf("%d letters; want 1", len(letters))
		}
		l := letters[0]
		if l.Headers[flow.DeadSize] != "" || !strings.Contains(l.Payload, fmt.Sprintf(`"N":%d,`, members)) || len(l.Payload) < 8000 {
			t.Errorf("the letter has %d bytes, cut from %q; want the whole group of %d", len(l.Payload), l.Headers[flow.DeadSize], members)
		}
	}, claims)
}

// Breaks if the headers of tracing count for flow.Limits: a message that fits without tracing is then dead
// with it.
func TestTraceCountsForNoLimit(t *testing.T) {
	seenOrNot(t, func(t *testing.T, how string, change func(*tracing.Config)) {
		r := newTraced(t, how, change, flow.Step("sort", arrivals, translator.Map(same, sorted)), quick(), flow.Limits(channel.Limits{HeaderBytes: 600}))
		r.give("arrivals", "", parcel{ID: "fits"}, "x", strings.Repeat("x", 480))
		r.give("arrivals", "", parcel{ID: "too much"}, "x", strings.Repeat("x", 700))
		r.wait(time.Hour)
		out, letters := r.on("sorted"), r.on("dead")
		if len(out) != 1 || len(letters) != 1 || letters[0].ID != "too much" {
			t.Errorf("sent %v, dead %v; want the one that fits sent and the other dead", out, letters)
		}
	})
}

// Breaks if what is kept of a member's trace counts for MaxBytes: groups are then closed earlier with
// tracing than without.
func TestTraceCountsForNoGroupsSize(t *testing.T) {
	var sizes []string
	seenOrNot(t, func(t *testing.T, how string, change func(*tracing.Config)) {
		g := glue(&aggregator.Memory{})
		g.Size, g.MaxBytes, g.Timeout = 0, 1000, time.Minute
		r := newTraced(t, how, change, flow.Step("glue", arrivals, g), quick())
		for i := range 20 {
			r.giveRaw("arrivals", fmt.Sprint(i), "", []byte(`{"Kind":"a"}`))
		}
		r.wait(time.Hour)
		var all []string
		for _, o := range r.on("stickers") {
			all = append(all, o.Payload)
		}
		sizes = append(sizes, strings.Join(all, " "))
	}, claims)
	if len(sizes) != 2 || sizes[0] != sizes[1] || strings.Count(sizes[0], " ") == 0 {
		t.Errorf("groups %q; want the same with tracing as without, and more than one", sizes)
	}
}
