package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// fakeCluster is a Kafka in the process.
func fakeCluster(t *testing.T) *cluster {
	t.Helper()
	fake := kafkatest.Fake(t)
	k := &cluster{start: func() (string, func(), error) { return kafkatest.Addr(fake), func() {}, nil }}
	t.Cleanup(func() {
		if err := k.close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// different is more ids than a test uses.
const different = 50_000

func contestants(r *measure.Row) map[string]measure.Contestant {
	all := map[string]measure.Contestant{}
	if r.Ceiling != nil {
		all["ceiling, "+r.Ceiling.Name] = *r.Ceiling
	}
	if r.Rival != nil {
		all["rival, "+r.Rival.Name] = *r.Rival
	}
	for _, o := range r.Ours {
		all["ours, "+o.Name] = o.Contestant
	}
	return all
}

// soon ends when a test has waited too long for a message: what is lost is then said, by name.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errLost)
	t.Cleanup(cancel)
	return ctx
}

// few is how many messages a test gives a row: whole groups of an aggregator, and few of those that wait.
func few(r *measure.Row) int {
	switch {
	case strings.Contains(r.Name, "a handler of"):
		return 50
	case r.Count > 0 && !strings.Contains(r.Name, "Kafka"):
		return keys * groupSize / max(r.Units, 1)
	}
	return 200
}

// Everybody does all of the work, more than once, and leaves nothing behind: messages are counted where
// they come out.
func TestContestantsDoTheirWork(t *testing.T) {
	k := fakeCluster(t)
	for _, r := range allRows(different, k) {
		if r.Needs != nil {
			if err := r.Needs(); err != nil {
				t.Fatal(err)
			}
		}
		for name, c := range contestants(&r) {
			t.Run(r.Name+"/"+name, func(t *testing.T) {
				if r.Needs != nil {
					t.Parallel() // most of it is waiting for a group
				}
				ctx := soon(t)
				l, err := c.Open(ctx)
				if err != nil {
					t.Fatal(err)
				}
				n := few(&r)
				for run := 1; run <= 2; run++ {
					if l.Ready != nil {
						if err := l.Ready(ctx, n); err != nil {
							t.Fatal(err)
						}
					}
					if err := l.Run(ctx, n); err != nil {
						t.Fatal(err)
					}
					if l.Check != nil {
						if err := l.Check(ctx); err != nil {
							t.Error(err)
						}
					}
					if got, want := l.Done(), int64(run*n*max(r.Units, 1)); got != want {
						t.Errorf("after run %d, %d came out, want %d", run, got, want)
					}
				}
				if l.Close != nil {
					if err := l.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// The rows as they are measured, for as short as can be.
func TestRowsAreMeasured(t *testing.T) {
	rows := allRows(different, fakeCluster(t))
	names := map[string]bool{}
	for i := range rows {
		if names[rows[i].Name] {
			t.Errorf("two rows are called %q", rows[i].Name)
		}
		names[rows[i].Name] = true
		rows[i].Count = few(&rows[i])
		for j := range rows[i].Ours {
			rows[i].Ours[j].Count = 0
		}
		if rows[i].Rival != nil {
			rows[i].Rival.Count = 0
		}
		if rows[i].Slice > 0 {
			rows[i].Slice = 2 * time.Millisecond
		}
	}
	rep, err := measure.Run(t.Context(), rows, measure.Options{Rounds: 1, Time: 2 * time.Millisecond})
	if err := errors.Join(err, rep.Err()); err != nil {
		t.Fatal(err)
	}
	for i := range rep.Rows {
		res := &rep.Rows[i]
		if len(res.Ours) != len(rows[i].Ours) {
			t.Errorf("%s: %d of ours in the report, want %d", res.Name, len(res.Ours), len(rows[i].Ours))
		}
		for _, j := range res.Ours {
			if j.Rate.Median <= 0 || len(j.Verdicts) == 0 && j.Why == "" {
				t.Errorf("%s, %s: rate %v, no must and no reason", res.Name, j.Name, j.Rate.Median)
			}
		}
	}
}

// The musts are the project's; an edit of a row must not lose them.
func TestMusts(t *testing.T) {
	got := map[string]measure.Must{}
	for _, r := range allRows(different, &cluster{}) {
		for _, o := range r.Ours {
			got[r.Name+": "+o.Name] = o.Must
		}
	}
	for name, want := range map[string]measure.Must{
		"in memory, two hops, strict order, 64 messages under way: AddTo":                             {Rival: 1.8},
		"in memory, two hops, strict order, a publisher that never waits: flow.Run":                   {Rival: 3},
		"in memory, the channel alone, publish to ack, 64 messages under way: memory.Broker, Ordered": {Rival: 4, Allocations: 7},

		"Kafka, publish, one caller that waits for each batch of 100: kafka.Publisher":        {Ceiling: 0.8, Rival: 12},
		"Kafka, publish, one caller that waits for each batch of 1000: kafka.Publisher":       {Ceiling: 0.8},
		"Kafka, publish, 64 callers, each waits for one message: kafka.Publisher":             {Ceiling: 0.8},
		"Kafka, consume, a handler that does nothing: flow.Run":                               {Ceiling: 0.6},
		"Kafka, consume, a handler that does nothing: Subscribe":                              {Ceiling: 0.6},
		"Kafka, consume, a handler of 1ms, 4 partitions, 1,000 keys: flow.Run, 256 workers":   {Rival: 30},
		"Kafka, consume, a handler of 10ms, 1 partition, 1,000 keys: flow.Run, 1,000 workers": {Rival: 100},
		"Kafka, pipeline: read, route by content, publish, acknowledge: flow.Run":             {Ceiling: 0.8},
		"Kafka, pipeline: read, route by content, publish, acknowledge: AddTo":                {Ceiling: 0.45},
		"Kafka, pipeline, exactly once: flow.Run, flow.ExactlyOnce":                           {Ceiling: 0.5},
	} {
		if got[name] != want {
			t.Errorf("%s: must %+v, want %+v", name, got[name], want)
		}
	}
}

func TestIdentitiesDiffer(t *testing.T) {
	const n = 10_000
	id := (&identities{n: n}).get()
	seen := map[string]bool{}
	for i := range n {
		seen[id(i)] = true
		if channel.IDOf(id(i)).String() != id(i) {
			t.Fatalf("%s is no UUID", id(i))
		}
	}
	if len(seen) != n || id(n) != id(0) {
		t.Fatalf("%d different ids of %d; the one after the last is %s", len(seen), n, id(n))
	}
}
