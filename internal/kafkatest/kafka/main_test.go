package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-go/leat/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func TestPrepareWithoutJavaStopsCIAlone(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("LEAT_CACHE", t.TempDir())
	for ci, want := range map[string]int{"": 0, "true": 1} {
		t.Setenv("CI", ci)
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"-prepare"}, &stdout, &stderr); code != want {
			t.Errorf("with CI=%q it exits with %d, want %d", ci, code, want)
		}
		if said := stderr.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "install Java 17 or newer and Maven") {
			t.Errorf("it said %q, want one line that says what to install", said)
		}
	}
}

func TestUnknownFlagIsRefused(t *testing.T) {
	if code := run(t.Context(), []string{"-x"}, io.Discard, io.Discard); code != 2 {
		t.Errorf("it exits with %d, want 2", code)
	}
}

func TestBrokerRunsUntilItIsInterrupted(t *testing.T) {
	kafkatest.Need(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, stdout := io.Pipe()
	exited := make(chan int, 1)
	go func() {
		exited <- run(ctx, nil, stdout, os.Stderr)
		stdout.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "LEAT_KAFKA=")
	if !ok {
		t.Fatalf("it said %q, %v", line, err)
	}
	kafkatest.Topic(t, addr, 1)
	interrupt()
	if code := <-exited; code != 0 {
		t.Errorf("it exits with %d", code)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("it left %q, %v", left, err)
	}
}
