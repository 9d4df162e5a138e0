package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

// plain is the pipeline as a loop: what run and the domain do without a flow.
type plain struct {
	mu     sync.Mutex
	out    io.Writer
	seen   map[string]bool
	groups map[string][]domain.Activity
	s      summary
	lose   bool                        // forgets every event
	refuse error                       // of Take
	drain  func(context.Context) error // nil: nothing to wait for
}

func newPlain(out io.Writer) *plain {
	return &plain{
		out: out, seen: map[string]bool{}, groups: map[string][]domain.Activity{},
		s: summary{Families: map[domain.Family]int64{}, Reasons: map[string]int64{}},
	}
}

func (p *plain) Take(_ context.Context, line []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		return p.refuse
	}
	p.s.Counts.Received++
	if p.lose {
		return nil
	}
	e, err := domain.Parse(line)
	switch {
	case err != nil:
		p.s.Counts.Invalid++
		p.s.Reasons[string(domain.ReasonOf(err))]++
	case p.seen[e.Delivery]:
		p.s.Counts.Duplicate++
	case !e.Expires.IsZero() && time.Now().After(e.Expires):
		p.s.Counts.Expired++
	case !domain.Relevant(e):
		p.s.Counts.Filtered++
	default:
		a, err := domain.Translate(e)
		if err != nil {
			return err
		}
		p.s.Counts.Done++
		p.s.Families[a.Family]++
		p.groups[a.Group] = append(p.groups[a.Group], domain.Split(domain.Enrich(a))...)
	}
	p.seen[e.Delivery] = true
	return nil
}

func (p *plain) Drain(ctx context.Context) error {
	if p.drain != nil {
		if err := p.drain(ctx); err != nil {
			return err
		}
	}
	for _, g := range slices.Sorted(maps.Keys(p.groups)) {
		d, err := domain.Combine(g, p.groups[g])
		if err != nil {
			return err
		}
		p.s.Digests++
		if err := json.NewEncoder(p.out).Encode(d); err != nil {
			return err
		}
	}
	return nil
}

func (p *plain) Summary() summary { return p.s }
func (p *plain) Graph() string    { return "graph LR" }

// ran is what a run left behind.
type ran struct {
	code           int
	stdout, stderr string
}

func runPlain(t *testing.T, stdin io.Reader, change func(*plain), args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := program{
		Args: args, Getenv: func(string) string { return "" }, Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
		Start: func(_ context.Context, _ config, out, _ io.Writer) (pipeline, error) {
			p := newPlain(out)
			if change != nil {
				change(p)
			}
			return p, nil
		},
	}.run(t.Context())
	return ran{code, stdout.String(), stderr.String()}
}

func lastLine(s string) string {
	all := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return all[len(all)-1]
}

func TestRunSample(t *testing.T) {
	r := runPlain(t, nil, nil)
	const want = "accounting: received=94 done=81 filtered=1 duplicate=5 invalid=6 expired=1 dead=0 in_flight=0 balanced"
	if r.code != 0 || lastLine(r.stderr) != want {
		t.Fatalf("code %d\n%s", r.code, r.stderr)
	}
	digested := map[string]int{}
	for line := range strings.Lines(r.stdout) {
		var d domain.Digest
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		for _, id := range d.Deliveries {
			digested[id]++
		}
	}
	for id, n := range digested {
		if n != 1 {
			t.Errorf("%s is in %d digests", id, n)
		}
	}
	if len(digested) != 81 {
		t.Errorf("%d events are in digests", len(digested))
	}
}

func TestRunInputs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.jsonl")
	if err := os.WriteFile(path, []byte(event("a")+"\nnot JSON\n"+event("a")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-input", path}, "received=3 done=1 filtered=0 duplicate=1 invalid=1"},
		{[]string{"-input", path, "-repeat", "3"}, "received=9 done=3 filtered=0 duplicate=3 invalid=3"},
		{[]string{"-input", "-"}, "received=2 done=1 filtered=0 duplicate=1 invalid=0"},
	} {
		r := runPlain(t, strings.NewReader(event("b")+"\n"+event("b")), nil, c.args...)
		if r.code != 0 || !strings.Contains(lastLine(r.stderr), c.want) {
			t.Errorf("%q: code %d\n%s", c.args, r.code, r.stderr)
		}
	}
}

func TestRunExitCodes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	broken := errors.New("disk\non fire")
	for _, c := range []struct {
		name   string
		stdin  io.Reader
		change func(*plain)
		args   []string
		code   int
		says   string
		lines  int // on stderr; 0: with a summary
	}{
		{"help", nil, nil, []string{"-h"}, 0, "-digest-size", 0},
		{"bad flag", nil, nil, []string{"-x"}, 2, "webhooks: flag provided but not defined: -x", 1},
		{"no such file", nil, nil, []string{"-input", "/does/not/exist"}, 2, "/does/not/exist", 1},
		{"a directory", nil, nil, []string{"-input", "."}, 2, "is a directory", 1},
		{"taken address", nil, nil, []string{"-listen", ln.Addr().String()}, 2, "listening on " + ln.Addr().String(), 1},
		{"graph", nil, nil, []string{"-graph"}, 0, "", -1},
		{"input breaks", brokenReader{broken}, nil, []string{"-input", "-"}, 2, "webhooks: input cannot be read: stdin: line 1: disk on fire", 0},
		{"unbalanced", nil, func(p *plain) { p.lose = true }, nil, 1, "unbalanced", 0},
		{"flow refuses", nil, func(p *plain) { p.refuse = broken }, nil, 1, "handing line 1 of the sample to the flow: disk on fire", 0},
		{"drain fails", nil, func(p *plain) { p.drain = func(context.Context) error { return broken } }, nil, 1, "draining the flow: disk on fire", 0},
	} {
		r := runPlain(t, c.stdin, c.change, c.args...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s: code %d, want %d\n%s", c.name, r.code, c.code, r.stderr)
		}
		if c.lines > 0 && strings.Count(r.stderr, "\n") != c.lines {
			t.Errorf("%s: not one line:\n%s", c.name, r.stderr)
		}
		if c.name == "graph" && (r.stdout != "graph LR\n" || r.stderr != "") {
			t.Errorf("graph: %q, %q", r.stdout, r.stderr)
		}
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestRunSaysWhyTheFlowDoesNotStart(t *testing.T) {
	var stderr bytes.Buffer
	for _, args := range [][]string{nil, {"-graph"}, {"-listen", "127.0.0.1:0"}} {
		stderr.Reset()
		code := program{
			Args: args, Getenv: os.Getenv, Stderr: &stderr,
			Start: func(context.Context, config, io.Writer, io.Writer) (pipeline, error) {
				return nil, errors.New("two\nmistakes")
			},
		}.run(t.Context())
		if code != 1 || stderr.String() != "webhooks: two mistakes\n" {
			t.Errorf("%q: code %d, %q", args, code, stderr.String())
		}
	}
}

// TestRunListens: a webhook in, a signal, a digest out.
func TestRunListens(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout bytes.Buffer
	r, stderr := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- program{
			Args: []string{"-listen", "127.0.0.1:0"}, Getenv: func(string) string { return "" },
			Stdout: &stdout, Stderr: stderr,
			Start: func(_ context.Context, _ config, out, _ io.Writer) (pipeline, error) { return newPlain(out), nil },
		}.run(ctx)
		_ = stderr.Close()
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		t.Fatal("said nothing")
	}
	_, address, ok := strings.Cut(lines.Text(), "http://")
	if !ok {
		t.Fatalf("no address in %q", lines.Text())
	}
	if status := deliver(t, "http://"+address); status != 202 {
		t.Fatalf("status %d", status)
	}
	cancel()
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if c := <-code; c != 0 || !strings.Contains(last, "received=1 done=1") || !strings.Contains(stdout.String(), `"deliveries":["d"]`) {
		t.Fatalf("code %d, %q, %q", c, last, stdout.String())
	}
}

// TestRunStopsAtASignal: what was taken is drained, though stdin never ends.
func TestRunStopsAtASignal(t *testing.T) {
	in, feed := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	taken := make(chan struct{})
	code := make(chan int, 1)
	go func() {
		code <- program{
			Args: []string{"-input", "-"}, Getenv: func(string) string { return "" },
			Stdin: in, Stdout: &stdout, Stderr: &stderr,
			Start: func(_ context.Context, _ config, out, _ io.Writer) (pipeline, error) {
				return noisy{newPlain(out), taken}, nil
			},
		}.run(ctx)
	}()
	if _, err := io.WriteString(feed, event("a")+"\n"); err != nil {
		t.Fatal(err)
	}
	<-taken
	cancel()
	if c := <-code; c != 0 || !strings.Contains(lastLine(stderr.String()), "received=1 done=1") || stdout.Len() == 0 {
		t.Fatalf("code %d\n%s", c, stderr.String())
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
}

// noisy says when it has taken one.
type noisy struct {
	*plain
	taken chan struct{}
}

func (n noisy) Take(ctx context.Context, line []byte) error {
	defer close(n.taken)
	return n.plain.Take(ctx, line)
}

// TestDrainIsWaitedFor: without limit after an input's end, for drainGrace after a signal.
func TestDrainIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name           string
		takes          time.Duration
		signal, before time.Duration // signal 0: none
		err            bool
	}{
		{"an hour at the end of the input", time.Hour, 0, time.Hour, false},
		{"quick after a signal", time.Second, time.Millisecond, time.Second, false},
		{"stuck after a signal", time.Hour, time.Minute, time.Minute + drainGrace, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.signal > 0 {
					timer := time.AfterFunc(c.signal, cancel)
					defer timer.Stop()
				}
				began := time.Now()
				p := newPlain(io.Discard)
				p.drain = func(ctx context.Context) error {
					select {
					case <-time.After(c.takes):
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				err := drain(ctx, p)
				if took := time.Since(began); (err != nil) != c.err || took != c.before {
					t.Fatalf("took %s, want %s, error %v", took, c.before, err)
				}
				if c.err && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v", err)
				}
			})
		})
	}
}
