package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		events string
		ok     bool
		want   []string // in the output, in this order
		not    []string
	}{
		"all pass": {
			events: `
{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestOne"}
{"Action":"output","Package":"m/a","Test":"TestOne","Output":"=== RUN   TestOne\n"}
{"Action":"output","Package":"m/a","Test":"TestOne","Output":"chatter\n"}
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":2.5}
{"Action":"output","Package":"m/a","Output":"PASS\n"}
{"Action":"pass","Package":"m/a","Elapsed":3}`,
			ok:   true,
			want: []string{"ok    m/a  1 tests  3s", "slow  m/a TestOne  2.5s", "1 passed, 0 failed, 0 skipped\n"},
			not:  []string{"chatter", "PASS"},
		},
		"a failure is shown in full, with its subtest": {
			events: `
{"Action":"run","Package":"m/a","Test":"TestOne"}
{"Action":"run","Package":"m/a","Test":"TestOne/sub"}
{"Action":"output","Package":"m/a","Test":"TestOne/sub","Output":"    x_test.go:1: got 1\n"}
{"Action":"fail","Package":"m/a","Test":"TestOne/sub","Elapsed":0}
{"Action":"fail","Package":"m/a","Test":"TestOne","Elapsed":0}
{"Action":"fail","Package":"m/a","Elapsed":0.1}`,
			want: []string{"FAIL  m/a", "TestOne/sub: failed", "x_test.go:1: got 1", "0 passed, 2 failed, 0 skipped\n"},
		},
		"a process that dies fails the tests it was in": {
			events: `
{"Action":"run","Package":"m/a","Test":"TestOne"}
{"Action":"output","Package":"m/a","Test":"TestOne","Output":"before the end\n"}
{"Action":"output","Package":"m/a","Output":"signal: killed\n"}
{"Action":"fail","Package":"m/a","Elapsed":0.1}`,
			want: []string{"TestOne: did not finish", "before the end", "signal: killed", "0 passed, 1 failed, 0 skipped\n"},
		},
		"a leak found after the tests is a failure": {
			events: `
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0}
{"Action":"output","Package":"m/a","Output":"goleak: Errors on successful test run\n"}
{"Action":"fail","Package":"m/a","Elapsed":0.1}`,
			want: []string{"FAIL  m/a", "goleak: Errors", "1 passed, 1 failed, 0 skipped\n"},
		},
		"a package that does not build": {
			events: `
{"ImportPath":"m/a [m/a.test]","Action":"build-output","Output":"a.go:3:1: syntax error\n"}
{"ImportPath":"m/a [m/a.test]","Action":"build-fail"}
{"Action":"fail","Package":"m/a","Elapsed":0,"FailedBuild":"m/a [m/a.test]"}`,
			want: []string{"FAIL  m/a", "a.go:3:1: syntax error", "0 passed, 1 failed, 0 skipped\n"},
		},
		"a stream that is cut off": {
			events: `
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0}`,
			want: []string{"FAIL  m/a", "did not finish", "1 passed, 1 failed, 0 skipped\n"},
		},
		"a skip that is on the list": {
			events: `
{"Action":"pass","Package":"m/mem","Test":"TestOne","Elapsed":0}
{"Action":"output","Package":"m/mem","Test":"TestSuite/TestReconnect/4711","Output":"    s.go:1: no restart\n"}
{"Action":"output","Package":"m/mem","Test":"TestSuite/TestReconnect/4711","Output":"--- SKIP: TestSuite/TestReconnect/4711 (0.00s)\n"}
{"Action":"skip","Package":"m/mem","Test":"TestSuite/TestReconnect/4711","Elapsed":0}
{"Action":"pass","Package":"m/mem","Elapsed":0.1}`,
			ok:   true,
			want: []string{"skip  m/mem TestSuite/TestReconnect/4711  (allowed) s.go:1: no restart", "1 passed, 0 failed, 1 skipped\n"},
		},
		"the same skip in another package": {
			events: `
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0}
{"Action":"skip","Package":"m/a","Test":"TestReconnect","Elapsed":0}
{"Action":"pass","Package":"m/a","Elapsed":0.1}`,
			want: []string{"SKIP  m/a TestReconnect  is not on the list", "1 passed, 0 failed, 1 skipped\n"},
		},
		"a longer name is another test": {
			events: `
{"Action":"pass","Package":"m/mem","Test":"TestOne","Elapsed":0}
{"Action":"skip","Package":"m/mem","Test":"TestReconnectTwice","Elapsed":0}
{"Action":"pass","Package":"m/mem","Elapsed":0.1}`,
			want: []string{"SKIP  m/mem TestReconnectTwice"},
		},
		"a package without tests is no skip": {
			events: `
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0}
{"Action":"pass","Package":"m/a","Elapsed":0.1}
{"Action":"output","Package":"m/b","Output":"?   \tm/b\t[no test files]\n"}
{"Action":"skip","Package":"m/b","Elapsed":0}`,
			ok:   true,
			want: []string{"none  m/b", "1 passed, 0 failed, 0 skipped\n"},
		},
		"nothing ran": {
			want: []string{"no test ran", "0 passed, 0 failed, 0 skipped\n"},
		},
		"a line that is no event is passed on": {
			events: `
go: downloading something
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0}
{"Action":"pass","Package":"m/a","Elapsed":0.1}`,
			ok:   true,
			want: []string{"go: downloading something", "1 passed, 0 failed, 0 skipped\n"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var out bytes.Buffer
			r := newReport(&out, allowedSkips{"m/mem": {"TestReconnect"}})
			if err := r.read(strings.NewReader(strings.TrimPrefix(tt.events, "\n"))); err != nil {
				t.Fatal(err)
			}
			if ok := r.finish(); ok != tt.ok {
				t.Errorf("ok = %v, want %v", ok, tt.ok)
			}
			rest := out.String()
			for _, w := range tt.want {
				_, after, found := strings.Cut(rest, w)
				if !found {
					t.Errorf("no %q, in its place, in:\n%s", w, out.String())
				}
				rest = after
			}
			for _, n := range tt.not {
				if strings.Contains(out.String(), n) {
					t.Errorf("%q in:\n%s", n, out.String())
				}
			}
		})
	}
}

func TestRunExits(t *testing.T) {
	t.Parallel()

	list := filepath.Join(t.TempDir(), "allowed")
	if err := os.WriteFile(list, []byte("# why\nm/a TestSkipped # a comment\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("m/a TestSkipped\nonly-one-field\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		passes = `{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0}
{"Action":"pass","Package":"m/a","Elapsed":0.1}`
		skips = `{"Action":"skip","Package":"m/a","Test":"TestSkipped","Elapsed":0}` + "\n" + passes
		fails = `{"Action":"fail","Package":"m/a","Test":"TestOne","Elapsed":0}
{"Action":"fail","Package":"m/a","Elapsed":0.1}`
	)
	tests := map[string]struct {
		args   []string
		events string
		exit   int
		says   string // on stderr
	}{
		"passes":             {nil, passes, 0, ""},
		"fails":              {nil, fails, 1, ""},
		"skips":              {nil, skips, 1, ""},
		"skips, lenient":     {[]string{"-lenient"}, skips, 0, ""},
		"fails, lenient":     {[]string{"-lenient"}, fails, 1, ""},
		"skips, allowed":     {[]string{"-allow", list}, skips, 0, ""},
		"no such list":       {[]string{"-allow", list + "x"}, passes, 2, "reading the list of allowed skips"},
		"a list with a typo": {[]string{"-allow", bad}, passes, 2, "bad:2: want a package and a test"},
		"no such flag":       {[]string{"-x"}, passes, 2, "-x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var stdout, stderr bytes.Buffer
			if exit := run(tt.args, strings.NewReader(tt.events), &stdout, &stderr); exit != tt.exit {
				t.Errorf("exit %d, want %d; stdout:\n%s", exit, tt.exit, &stdout)
			}
			if !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("stderr %q, want %q in it", &stderr, tt.says)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"Action":"fail","Package":"m/a","Test":"TestOne/sub"}`)
	f.Add(`{"Action":"output"}` + "\nnoise")
	f.Fuzz(func(t *testing.T, in string) {
		r := newReport(&bytes.Buffer{}, nil)
		if err := r.read(strings.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		if r.finish() && r.passed == 0 {
			t.Error("well, and nothing passed")
		}
	})
}
