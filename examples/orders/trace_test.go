package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
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
