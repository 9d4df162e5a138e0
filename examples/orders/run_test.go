package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/leat-go/leat/flow"
)

// Example is the program as it is started.
func Example() {
	program{Stdout: os.Stdout, Stderr: os.Stderr}.run(context.Background())
	// Output:
	// 1001      confirmed     booked 2 x W1, 1 x G1
	// 1002      confirmed     booked 3 x G2
	// 1003      back-ordered  booked 4 x G1; short 500 x W3
	// 1004      confirmed     booked 1 x W2; not sold 1 x X9
	// 1005      dead letter   gadget-inventory: booking 5 x G13: stock record is broken: -2 in stock
	// 1006      invalid       it has no lines
	// 1007      confirmed     booked 6 x W2, 2 x G2, 1 x W1
	// 1008      refused       not sold 1 x SUNDIAL
	// 1005      put back      for gadget-inventory, after the shelf was counted
	// 1005      confirmed     booked 1 x W1, 5 x G13
	// accounting: received=8 confirmed=5 back_ordered=1 refused=1 invalid=1 dead=0 in_flight=0 retries=2 put_back=1 balanced
}

// Example_noRepair leaves the poisoned order where it is: in the dead letter, and accounted for.
func Example_noRepair() {
	code := program{Args: []string{"-no-repair"}, Stdout: os.Stdout, Stderr: os.Stderr}.run(context.Background())
	fmt.Println("exit code", code)
	// Output:
	// 1001      confirmed     booked 2 x W1, 1 x G1
	// 1002      confirmed     booked 3 x G2
	// 1003      back-ordered  booked 4 x G1; short 500 x W3
	// 1004      confirmed     booked 1 x W2; not sold 1 x X9
	// 1005      dead letter   gadget-inventory: booking 5 x G13: stock record is broken: -2 in stock
	// 1006      invalid       it has no lines
	// 1007      confirmed     booked 6 x W2, 2 x G2, 1 x W1
	// 1008      refused       not sold 1 x SUNDIAL
	// accounting: received=8 confirmed=4 back_ordered=1 refused=1 invalid=1 dead=1 in_flight=0 retries=2 put_back=0 balanced
	// exit code 0
}

// ran is what a run left behind.
type ran struct {
	code           int
	stdout, stderr string
}

func run(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := program{Args: args, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr}.run(t.Context())
	return ran{code, stdout.String(), stderr.String()}
}

func TestEveryLineIsAccountedFor(t *testing.T) {
	one := func(id, item string) string {
		return fmt.Sprintf(`{"id":%q,"lines":[{"item":%q,"quantity":1}]}`, id, item)
	}
	for _, c := range []struct {
		name, in string
		want     []string // lines of stdout begin with them
	}{
		{"nothing", "", []string{"accounting: received=0 "}},
		{"no end", one("1", "W1"), []string{"1         confirmed", "accounting: received=1 confirmed=1 "}},
		{
			"bad lines", "{\n\n" + one("", "W1") + "\n" + one("1", "") + "\n" + `{"id":"` + strings.Repeat("x", maxLine) + `"}` + "\n",
			[]string{
				"line 1    invalid       not an order in JSON: unexpected", "line 2    invalid       the line is empty",
				"line 3    invalid       it has no id", "1         invalid       line 1 has no item",
				"line 5    invalid       it has 65545 bytes, and may have 65536",
				"accounting: received=5 confirmed=0 back_ordered=0 refused=0 invalid=5 ",
			},
		},
		{
			"an id twice", one("1", "W1") + "\n" + one("1", "G1") + "\n" + one("line 2", "W1") + "\n",
			[]string{
				"1         confirmed     booked 1 x W1", "line 2    invalid       there is an order 1 already",
				"line 2    confirmed", "accounting: received=3 confirmed=2 back_ordered=0 refused=0 invalid=1 ",
			},
		},
		{
			"more than is on the shelf", one("1", "G13") + "\n" + strings.Replace(one("2", "G13"), ":1}", ":50}", 1) + "\n",
			[]string{
				"1         dead letter", "2         dead letter", "1         put back", "1         confirmed",
				"2         put back", "2         back-ordered", "accounting: received=2 confirmed=1 back_ordered=1 ",
			},
		},
	} {
		r := run(t, c.in, "-orders", "-")
		got := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
		if r.code != 0 || r.stderr != "" || len(got) != len(c.want) || !strings.HasSuffix(r.stdout, " balanced\n") {
			t.Errorf("%s: exit code %d, %s\n%s", c.name, r.code, r.stderr, r.stdout)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: line %d is %q, want %q", c.name, i+1, got[i], want)
			}
		}
	}
}

// TestAnOrderWithTwoPoisonedLines: both are put back, and none is asked for twice.
func TestAnOrderWithTwoPoisonedLines(t *testing.T) {
	in := `{"id":"1","lines":[{"item":"G13","quantity":1},{"item":"W1","quantity":1},{"item":"G13","quantity":2}]}`
	r := run(t, in, "-orders", "-")
	if r.code != 0 || !strings.Contains(r.stdout, "1         confirmed     booked 1 x G13, 1 x W1, 2 x G13\naccounting: received=1 confirmed=1 ") {
		t.Errorf("exit code %d, %s\n%s", r.code, r.stderr, r.stdout)
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "orders.jsonl")
	if err := os.WriteFile(path, sample, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		code   int
		stdout string // it ends so
		stderr string // it begins so
	}{
		{[]string{"-orders", path}, 0, " balanced\n", ""},
		{[]string{"-h"}, 0, "", "Orders takes"},
		{[]string{"-x"}, 2, "", "orders: flag provided but not defined: -x (-help lists the flags)\n"},
		{[]string{"-times"}, 2, "", "orders: -times is for -trace (-help lists the flags)\n"},
		{[]string{"file"}, 2, "", `orders: unexpected argument "file": name a file with -orders`},
		{[]string{"-orders", path + "x"}, 2, "", "orders: orders cannot be read: open "},
		{[]string{"-orders", dir}, 2, " balanced\n", "orders: orders cannot be read: line 1: read "},
	} {
		r := run(t, "", c.args...)
		if r.code != c.code || !strings.HasSuffix(r.stdout, c.stdout) || !strings.HasPrefix(r.stderr, c.stderr) {
			t.Errorf("%q: exit code %d, want %d\n%s%s", c.args, r.code, c.code, r.stderr, r.stdout)
		}
	}
}

// broken fails once so many bytes were written.
type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("disk is full")
	}
	return len(p), nil
}

func TestALineThatCannotBeWrittenFailsTheRun(t *testing.T) {
	var stderr bytes.Buffer
	code := program{Stdout: &broken{100}, Stderr: &stderr}.run(t.Context())
	if code != 1 || !strings.Contains(stderr.String(), "disk is full") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

// TestWhatCannotBeMendedStaysDead: a line that dies again, and one that did not die at an inventory. The run
// ends all the same.
func TestWhatCannotBeMendedStaysDead(t *testing.T) {
	var out strings.Builder
	s, err := openShop(newLedger(&out))
	if err != nil {
		t.Fatal(err)
	}
	s.gadgets.Shelf = map[string]int{"G13": -7}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.receive("7")
	elsewhere := letter("7", "1")
	elsewhere.Metadata[flow.DeadStep] = "confirm"
	s.bury(elsewhere)
	if err := s.take(2, []byte(`{"id":"8","lines":[{"item":"G13","quantity":1}]}`)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.settle(t.Context(), true), s.close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, in, putBack := s.count(); in[isDead] != 2 || putBack != 1 {
		t.Errorf("%v, put back %d\n%s", in, putBack, out.String())
	}
	if line, balanced := s.accounting(); !balanced {
		t.Error(line)
	}
}

func TestAccountingFindsWhatIsMissing(t *testing.T) {
	s, err := openShop(newLedger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.receive("lost")
	if err := s.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if line, balanced := s.accounting(); balanced || !strings.HasSuffix(line, "in_flight=1 retries=0 put_back=0 unbalanced") {
		t.Errorf("%s, balanced: %v", line, balanced)
	}
}

// TestAnOrderThatCannotBePublishedIsNotWaitedFor: it is accounted for, and the error is the run's.
func TestAnOrderThatCannotBePublishedIsNotWaitedFor(t *testing.T) {
	s, err := openShop(newLedger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.broker.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.take(1, []byte(`{"id":"7"}`)); err == nil || !strings.Contains(err.Error(), "publishing order 7") {
		t.Errorf("error %v", err)
	}
	if _, in, _ := s.count(); in[isInvalid] != 1 || !resting(t, s.ledger) {
		t.Errorf("%v", in)
	}
}

func TestGraph(t *testing.T) {
	r := run(t, "", "-graph")
	for _, want := range []string{
		"flowchart LR\n", `["split<br/>Splitter"]`, `["by-item<br/>Content-Based Router"]`, `["assemble<br/>Aggregator"]`,
		`==>|"widget: orders.lines.widgets"|`, `==>|"otherwise: orders.lines.not-sold"|`, `(["orders.dead"])`,
	} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("exit code %d, the graph lacks %q:\n%s", r.code, want, r.stdout)
		}
	}
}

// TestBuiltProgramDrainsOnSIGTERM: what was taken is done, though stdin never ends.
func TestBuiltProgramDrainsOnSIGTERM(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "orders")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin, "-orders", "-")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write(sample); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		fmt.Fprintln(&got, lines.Text())
		if strings.HasPrefix(lines.Text(), "1008 ") { // the last of the sample
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, got.String())
	}
	if !strings.Contains(got.String(), "1005      confirmed") || !strings.HasSuffix(got.String(), " balanced\n") {
		t.Errorf("got\n%s", got.String())
	}
}
