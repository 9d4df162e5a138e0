package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

// runFlow runs the program with the real flow.
func runFlow(t *testing.T, stdin io.Reader, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := program{
		Args: args, Getenv: func(string) string { return "" }, Stdin: stdin, Stdout: &stdout, Stderr: &stderr, Start: startWebhooks,
	}.run(t.Context())
	return ran{code, stdout.String(), stderr.String()}
}

// digestsOf reads the digests, sorted by group.
func digestsOf(t *testing.T, stdout string) (ds []domain.Digest) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var d domain.Digest
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("stdout has %q: %v", line, err)
		}
		ds = append(ds, d)
	}
	slices.SortFunc(ds, func(a, b domain.Digest) int { return strings.Compare(a.Group, b.Group) })
	return ds
}

// TestFlowDoesWhatALoopDoes: the flow's digests and accounting are those of a plain loop over the same
// domain, on the sample and on the file that LEAT_WEBHOOKS names.
func TestFlowDoesWhatALoopDoes(t *testing.T) {
	inputs := [][]string{{}}
	if f := os.Getenv("LEAT_WEBHOOKS"); f != "" {
		inputs = append(inputs, []string{"-input", f})
	}
	for _, args := range inputs {
		args = append(args, "-digest-size", "100000", "-digest-timeout", "1h")
		got, want := runFlow(t, nil, args...), runPlain(t, nil, nil, args...)
		if got.code != 0 || lastLine(got.stderr) != lastLine(want.stderr) {
			t.Errorf("%v: exit code %d, %s\nwant %s", args, got.code, lastLine(got.stderr), lastLine(want.stderr))
		}
		g, w := digestsOf(t, got.stdout), digestsOf(t, want.stdout)
		if len(g) != len(w) {
			t.Fatalf("%v: %d digests, want %d", args, len(g), len(w))
		}
		for i := range g {
			a, _ := json.Marshal(g[i])
			b, _ := json.Marshal(w[i])
			if !bytes.Equal(a, b) {
				t.Errorf("%v: digest\n%s\nwant\n%s", args, a, b)
			}
		}
	}
}

// TestEveryEventOnce: in small digests too, each delivery is counted in one of them, and a second pass
// over the same input adds duplicates and nothing else.
func TestEveryEventOnce(t *testing.T) {
	data, err := io.ReadAll(sample())
	if err != nil {
		t.Fatal(err)
	}
	if f := os.Getenv("LEAT_WEBHOOKS"); f != "" {
		if data, err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	once := runFlow(t, bytes.NewReader(data), "-input", "-", "-digest-size", "3")
	twice := runFlow(t, io.MultiReader(bytes.NewReader(data), bytes.NewReader(data)), "-input", "-", "-digest-size", "3")
	if once.code != 0 || twice.code != 0 {
		t.Fatalf("exit codes %d and %d: %s", once.code, twice.code, twice.stderr)
	}
	if once.stdout != twice.stdout {
		t.Error("a second pass changed the digests")
	}
	seen := map[string]int{}
	events := 0
	for _, d := range digestsOf(t, once.stdout) {
		events += d.Events
		for _, id := range d.Deliveries {
			if seen[id]++; seen[id] > 1 {
				t.Errorf("delivery %s is in two digests", id)
			}
		}
	}
	if !strings.Contains(lastLine(once.stderr), "balanced") || events != len(seen) || events == 0 {
		t.Errorf("%d events of %d deliveries, %s", events, len(seen), lastLine(once.stderr))
	}
}

func TestRepeatFeedsFreshEvents(t *testing.T) {
	r := runFlow(t, nil, "-repeat", "3")
	if want := "received=282 done=243 filtered=3 duplicate=15 invalid=18 expired=3 dead=0 in_flight=0 balanced"; r.code != 0 || !strings.HasSuffix(lastLine(r.stderr), want) {
		t.Errorf("exit code %d, %s, want %s", r.code, lastLine(r.stderr), want)
	}
	if !strings.Contains(r.stderr, "events/s") {
		t.Error("no rate")
	}
}

func TestGraphIsTheFlow(t *testing.T) {
	r := runFlow(t, nil, "-graph")
	for _, want := range []string{"flowchart LR", "by-family<br/>Content-Based Router", "digest<br/>Aggregator", "webhooks.dead"} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("exit code %d, the graph lacks %q:\n%s", r.code, want, r.stdout)
		}
	}
}

// TestBuiltProgramDrainsOnSIGTERM: what was taken is in a digest, and the program is gone within 5 s.
func TestBuiltProgramDrainsOnSIGTERM(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "webhooks")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	event := `{"action":"created","repository":{"full_name":"mill/race"},"sender":{"login":"otter"}}`
	for _, args := range [][]string{{"-listen", "127.0.0.1:0"}, {"-input", "-"}} {
		cmd := exec.CommandContext(t.Context(), bin, args...)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(stderr)
		if args[0] == "-listen" {
			said.Scan()
			postStar(t, regexp.MustCompile(`http://\S+`).FindString(said.Text()), event)
		} else {
			// More than the reader takes ahead, so that the first is known to be in the flow.
			for range 2000 {
				if _, err := io.WriteString(stdin, `{"event":"star","delivery":"d1","payload":`+event+"}\n"); err != nil {
					t.Fatal(err)
				}
			}
		}
		began := time.Now()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		last := ""
		for said.Scan() {
			last = said.Text()
		}
		err = cmd.Wait()
		if took := time.Since(began); err != nil || took > 5*time.Second {
			t.Errorf("%v: %v after %s: %s", args, err, took, last)
		}
		if ds := digestsOf(t, stdout.String()); len(ds) != 1 || ds[0].Group != "mill/race" || ds[0].Events != 1 {
			t.Errorf("%v: digests %+v", args, ds)
		}
		if !strings.HasSuffix(last, "in_flight=0 balanced") {
			t.Errorf("%v: last line %q", args, last)
		}
	}
}

func postStar(t *testing.T, url, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Github-Event", "star")
	r.Header.Set("X-Github-Delivery", "d1")
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Fatalf("answered %s", res.Status)
	}
}
