package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// event is one line of go test -json; see go doc test2json and go help buildjson.
type event struct {
	Action      string  `json:"Action"`
	Package     string  `json:"Package"`
	ImportPath  string  `json:"ImportPath"` // of build events
	FailedBuild string  `json:"FailedBuild"`
	Test        string  `json:"Test"`
	Output      string  `json:"Output"`
	Elapsed     float64 `json:"Elapsed"` // seconds
}

// report follows a stream of events. Packages may be interleaved.
type report struct {
	out      io.Writer
	allowed  allowedSkips
	lenient  bool // a skip that is not among them fails nothing
	packages map[string]*pkg
	builds   map[string]*strings.Builder // what the compiler said, by import path

	passed, failed int
	skips          []skip
	slow           []slow
}

type pkg struct {
	tests   map[string]*test // those that have not passed
	output  strings.Builder  // of no test
	elapsed time.Duration
	counted int
	failed  int
}

type test struct {
	output strings.Builder
	state  string // "": running
	parent bool   // it has subtests
}

type skip struct {
	pkg, test, why string
	allowed        bool
}

type slow struct {
	pkg, test string
	elapsed   time.Duration
}

func newReport(out io.Writer, allowed allowedSkips) *report {
	return &report{
		out: out, allowed: allowed,
		packages: map[string]*pkg{}, builds: map[string]*strings.Builder{},
	}
}

// read takes events until the end. A line that is no event is passed on: it is the go command's own.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if jsonErr := json.Unmarshal(line, &e); jsonErr != nil || e.Action == "" {
				r.printf("%s\n", strings.TrimRight(string(line), "\n"))
			} else {
				r.take(&e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading test events: %w", err)
		}
	}
}

func (r *report) take(e *event) {
	switch {
	case e.ImportPath != "":
		r.build(e)
	case e.Package == "":
	case e.Test == "":
		r.takePackage(e)
	default:
		r.takeTest(e)
	}
}

func (r *report) build(e *event) {
	b := r.builds[e.ImportPath]
	if b == nil {
		b = &strings.Builder{}
		r.builds[e.ImportPath] = b
	}
	b.WriteString(e.Output)
}

func (r *report) of(name string) *pkg {
	p := r.packages[name]
	if p == nil {
		p = &pkg{tests: map[string]*test{}}
		r.packages[name] = p
	}
	return p
}

func (r *report) takeTest(e *event) {
	p := r.of(e.Package)
	t := p.tests[e.Test]
	if t == nil {
		t = &test{}
		p.tests[e.Test] = t
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			if up := p.tests[e.Test[:i]]; up != nil {
				up.parent = true
			}
		}
	}
	switch e.Action {
	case "output":
		if !noise(e.Output) {
			t.output.WriteString(e.Output)
		}
		return
	case "pass":
		r.passed++
		delete(p.tests, e.Test)
	case "skip":
		r.skips = append(r.skips, skip{
			pkg: e.Package, test: e.Test, why: why(t.output.String()), allowed: r.allowed.has(e.Package, e.Test),
		})
		delete(p.tests, e.Test)
	case "fail":
		r.failed++
		p.failed++
		t.state = "failed"
	default:
		return
	}
	p.counted++
	if !t.parent {
		r.slow = append(r.slow, slow{e.Package, e.Test, seconds(e.Elapsed)})
	}
}

func (r *report) takePackage(e *event) {
	p := r.of(e.Package)
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case "pass", "skip": // "skip": it has no test files
		p.elapsed = seconds(e.Elapsed)
		r.unfinished(p)
		r.close(e.Package, p, p.failed > 0)
	case "fail":
		p.elapsed = seconds(e.Elapsed)
		r.unfinished(p)
		if b := r.builds[e.FailedBuild]; b != nil {
			p.output.WriteString(b.String())
		}
		if p.failed == 0 { // it did not build, or TestMain failed
			p.failed++
			r.failed++
		}
		r.close(e.Package, p, true)
	}
}

// unfinished counts the tests that began and have no end: the process died under them.
func (r *report) unfinished(p *pkg) {
	for _, t := range p.tests {
		if t.state == "" {
			t.state = "did not finish"
			p.failed++
			r.failed++
		}
	}
}

// close prints a package's line and all it has to say, and forgets it.
func (r *report) close(name string, p *pkg, failed bool) {
	delete(r.packages, name)
	switch {
	case failed:
		r.printf("FAIL  %s  %v\n", name, p.elapsed)
	case p.counted == 0:
		r.printf("none  %s  has no tests\n", name)
	default:
		r.printf("ok    %s  %d tests  %v\n", name, p.counted, p.elapsed)
	}
	if !failed {
		return
	}
	for _, n := range slices.Sorted(maps.Keys(p.tests)) {
		t := p.tests[n]
		r.printf("--- %s %s: %s\n%s", name, n, t.state, closed(t.output.String()))
	}
	r.printf("%s", closed(p.output.String()))
}

// finish prints the end and reports whether all is well.
func (r *report) finish() bool {
	for _, name := range slices.Sorted(maps.Keys(r.packages)) {
		p := r.packages[name]
		r.unfinished(p)
		if p.failed == 0 {
			r.failed++
		}
		p.output.WriteString("the package's tests did not finish\n")
		r.close(name, p, true)
	}
	r.printSlow()
	unlisted := r.printSkips()
	none := r.passed+r.failed == 0
	if none {
		r.printf("no test ran: nothing is shown by that\n")
	}
	r.printf("%d passed, %d failed, %d skipped\n", r.passed, r.failed, len(r.skips))
	return r.failed == 0 && (!unlisted || r.lenient) && !none
}

func (r *report) printSlow() {
	const most, worthNaming = 8, time.Second

	slices.SortFunc(r.slow, func(a, b slow) int { return cmp.Compare(b.elapsed, a.elapsed) })
	for i, s := range r.slow {
		if i == most || s.elapsed < worthNaming {
			return
		}
		r.printf("slow  %s %s  %v\n", s.pkg, s.test, s.elapsed)
	}
}

func (r *report) printSkips() (unlisted bool) {
	for _, s := range r.skips {
		if s.allowed {
			r.printf("skip  %s %s  (allowed) %s\n", s.pkg, s.test, s.why)
			continue
		}
		unlisted = true
		r.printf("SKIP  %s %s  is not on the list of allowed skips: %s\n", s.pkg, s.test, s.why)
	}
	return unlisted
}

func (r *report) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.out, format, args...)
}

// noise reports the lines that only say that a test began or went on.
func noise(line string) bool {
	for _, p := range [...]string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "} {
		if strings.HasPrefix(line, p) {
			return true
		}
	}
	return false
}

// why gives what a skipped test said, in one line.
func why(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--- SKIP") {
			said = append(said, line)
		}
	}
	return strings.Join(said, "; ")
}

// closed gives a text that ends its last line.
func closed(text string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}
