package main

import (
	"os"
	"strings"
	"testing"
)

// TestREADME: what the README shows of this example is what it prints.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, "", "-orders", "sample.jsonl", "-trace")
	plain, traces, _ := strings.Cut(r.stdout, "\ntrace of ")
	lines := strings.SplitAfter(plain, "\n")
	wants := []string{strings.TrimSpace(plain)}
	for part := range strings.SplitSeq("trace of "+traces, "\n\n") {
		if strings.Contains(strings.SplitN(part, "\n", 2)[0], "trace of order 1005") {
			wants = append(wants, strings.TrimSpace(part))
		}
	}
	if len(lines) < 10 || len(wants) != 4 {
		t.Fatalf("%d lines and %d traces of order 1005", len(lines), len(wants)-1)
	}
	for _, want := range wants {
		if !strings.Contains(string(readme), want) {
			t.Errorf("the README does not have\n%s", want)
		}
	}
}
