package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
	"github.com/leat-go/leat/internal/kafkatest"
)

// asALoop fails unless the flow over a broker did what a loop over the same domain does, event by event, and
// says that it has read every topic to its end.
func asALoop(t *testing.T, broker string) {
	t.Helper()
	args := []string{"-digest-size", "100000", "-digest-timeout", "1h"}
	got, want := runFlow(t, nil, append(args, "-broker", broker)...), runPlain(t, nil, nil, args...)
	if got.code != 0 || lastLine(got.stderr) != lastLine(want.stderr) {
		t.Errorf("exit code %d\n%s\nwant %s", got.code, got.stderr, lastLine(want.stderr))
	}
	if !strings.Contains(got.stderr, " topics, to their ends") || strings.Contains(got.stderr, " 0 topics,") || strings.Contains(got.stderr, "level=") {
		t.Errorf("not read to the end without trouble:\n%s", got.stderr)
	}
	g, w := digestsOf(t, got.stdout), digestsOf(t, want.stdout)
	if len(g) != len(w) {
		t.Fatalf("%d digests, want %d", len(g), len(w))
	}
	for i := range g {
		// Of events without a time, the first and the last are those that came so: over partitions, any.
		g[i].First, g[i].Last, w[i].First, w[i].Last = domain.Moment{}, domain.Moment{}, domain.Moment{}, domain.Moment{}
		a, _ := json.Marshal(g[i])
		b, _ := json.Marshal(w[i])
		if !bytes.Equal(a, b) {
			t.Errorf("digest\n%s\nwant\n%s", a, b)
		}
	}
}

// TestOverKafkaInTheProcess: the same steps, each hop over a broker, do the same.
func TestOverKafkaInTheProcess(t *testing.T) { asALoop(t, "kafka:") }

// TestOverKafka: the same over Kafka itself, twice on the same topics: a second run finds nothing of the first.
func TestOverKafka(t *testing.T) {
	broker := fmt.Sprintf("kafka://%s/run-%08x.", kafkatest.Shared(t).Addr(), rand.Uint32())
	asALoop(t, broker)
	asALoop(t, broker)
}

// TestInterruptOverKafka: what was taken is in a digest though stdin never ends, and nothing is left on the
// topics.
func TestInterruptOverKafka(t *testing.T) {
	in, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	taken, code := make(chan struct{}), make(chan int, 1)
	go func() {
		code <- program{
			Args: []string{"-input", "-", "-broker", "kafka:"}, Getenv: func(string) string { return "" },
			Stdin: in, Stdout: &stdout, Stderr: &stderr,
			Start: func(ctx context.Context, c config, out, log io.Writer) (pipeline, error) {
				p, err := startWebhooks(ctx, c, out, log)
				return told{p, taken}, err
			},
		}.run(ctx)
	}()
	if _, err := io.WriteString(feed, event("a")+"\n"); err != nil {
		t.Fatal(err)
	}
	<-taken
	cancel()
	if c := <-code; c != 0 || !strings.HasSuffix(lastLine(stderr.String()), "in_flight=0 balanced") {
		t.Errorf("exit code %d\n%s", c, stderr.String())
	}
	if ds := digestsOf(t, stdout.String()); len(ds) != 1 || ds[0].Events != 1 {
		t.Errorf("digests %+v", ds)
	}
}

// told says when it has taken one.
type told struct {
	pipeline
	taken chan struct{}
}

func (p told) Take(ctx context.Context, line []byte) error {
	defer close(p.taken)
	return p.pipeline.Take(ctx, line)
}

// TestNoBroker: it says where it looked, and soon.
func TestNoBroker(t *testing.T) {
	began := time.Now()
	r := runFlow(t, nil, "-broker", "kafka://127.0.0.1:1")
	if r.code != 1 || !strings.Contains(r.stderr, "127.0.0.1:1") || strings.Count(r.stderr, "\n") != 1 || time.Since(began) > 5*time.Second {
		t.Errorf("exit code %d after %v\n%s", r.code, time.Since(began), r.stderr)
	}
}

// TestGraphOverABroker: nobody connects to draw.
func TestGraphOverABroker(t *testing.T) {
	if r := runFlow(t, nil, "-graph", "-broker", "kafka://127.0.0.1:1"); r.code != 0 || !strings.Contains(r.stdout, "flowchart LR") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

func TestKafkaAddress(t *testing.T) {
	for _, c := range []struct {
		broker, address, prefix string
		bad                     bool
	}{
		{broker: "kafka:"},
		{broker: "kafka://127.0.0.1:9092", address: "127.0.0.1:9092"},
		{broker: "kafka://[::1]:9092/a.b.", address: "[::1]:9092", prefix: "a.b."},
		{broker: "kafka://", bad: true},
		{broker: "kafka:9092", bad: true},
		{broker: "kafka:///orders", bad: true},
		{broker: "kafka://host", bad: true},
		{broker: "kafka://host:", bad: true},
		{broker: "kafka://user:password@host:1", bad: true},
		{broker: "kafka://host:1?tls=1", bad: true},
		{broker: "redis://host:1", bad: true},
		{broker: "127.0.0.1:9092", bad: true},
	} {
		address, prefix, err := kafkaAddress(c.broker)
		if address != c.address || prefix != c.prefix || (err != nil) != c.bad {
			t.Errorf("%s: %q, %q, %v", c.broker, address, prefix, err)
		}
	}
}

// TestPathway: an event is joined when its last part is, and a part that comes again changes nothing.
func TestPathway(t *testing.T) {
	w := pathway{parts: map[string]map[int]bool{}}
	parts := []domain.Activity{{Delivery: "a", Part: 1}, {Delivery: "a", Part: 2}}
	w.splits(parts)
	for i, step := range []struct {
		part   domain.Activity
		joined int64
	}{{parts[0], 0}, {parts[0], 0}, {parts[1], 1}, {parts[1], 1}, {domain.Activity{Delivery: "b", Part: 1}, 1}} {
		if w.joins(step.part); w.joined != step.joined {
			t.Errorf("after %d parts %d events are joined, want %d", i+1, w.joined, step.joined)
		}
	}
}
