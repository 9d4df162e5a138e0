package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

// TestTrace: the traces of the sample are always the same. Where they change on purpose:
//
//	go run ./examples/orders -trace > examples/orders/testdata/trace.txt
func TestTrace(t *testing.T) {
	want, err := os.ReadFile("testdata/trace.txt")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, "", "-orders", "sample.jsonl", "-trace")
	if r.code != 0 || r.stdout != string(want) {
		t.Errorf("exit code %d, %s\n%s\nwant\n%s", r.code, r.stderr, r.stdout, want)
	}
}

func TestTimesOfTraces(t *testing.T) {
	r := run(t, `{"id":"1","lines":[{"item":"G2","quantity":1}]}`, "-orders", "-", "-trace", "-times")
	took := regexp.MustCompile(`, [0-9.]+(µs|ms|s)$`)
	spans := 0
	for line := range strings.Lines(r.stdout) {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, "process ") && !strings.Contains(line, "send ") && !strings.Contains(line, "aggregate ") {
			continue
		}
		if spans++; !took.MatchString(line) {
			t.Errorf("no time in %q", line)
		}
	}
	if r.code != 0 || spans < 10 {
		t.Errorf("exit code %d, %d spans\n%s", r.code, spans, r.stdout)
	}
}

// TestTracesAreTheDrawing: whatever becomes of orders, their traces go along what -graph draws, and nothing
// in them is an orphan.
func TestTracesAreTheDrawing(t *testing.T) {
	var traces leattest.Traces
	w, g := stock()
	f, err := declare(w, g, newLedger(io.Discard), flow.Tracing(traces.Config()))
	if err != nil {
		t.Fatal(err)
	}
	leattest.Run(t, f, func(k *leattest.Kit) {
		send(k, order("1", "W1", "G1", "G2", "X1"))
		send(k, order("2", "W9"))
		send(k, order("3", "X1"))
		send(k, order("4"))
		send(k, order("5", "G13", "W1"))
		k.Wait(time.Minute)
		g.Recount()
		for _, l := range k.Dead() {
			topic, m, err := flow.PutBack(l.Message)
			if err != nil {
				t.Fatal(err)
			}
			k.World.PutMessage(topic, m)
		}
		k.Drain()
	})
	traces.Check(t, f)
	var not []string // arrows that these orders do not take
	for _, e := range f.Edges() {
		if e.Link == flow.LinkTime || e.Link == flow.LinkError && e.From != "step "+gadgetInventory {
			not = append(not, e.String())
		}
	}
	traces.Covers(t, f, not...)
}
