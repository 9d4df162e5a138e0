package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

func readAll(t *testing.T, r io.Reader) (got []string) {
	t.Helper()
	l := newLines(r)
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(line))
	}
}

func TestLines(t *testing.T) {
	long, longest := strings.Repeat("x", 200_000), strings.Repeat("y", maxLine)
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"one", "a\n", []string{"a"}},
		{"no end", "a\nb", []string{"a", "b"}},
		{"empty lines", "\n\na\n\n", []string{"", "", "a", ""}},
		{"carriage return stays", "a\r\n", []string{"a\r"}},
		{"longer than the buffer", long + "\n" + long, []string{long, long}},
		{"as long as may be", longest + "\n" + longest, []string{longest, longest}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.DataErrReader(strings.NewReader(c.in)), iotest.HalfReader(strings.NewReader(c.in))} {
				if got := readAll(t, r); !slices.Equal(got, c.want) {
					t.Fatalf("%d lines, want %d: %.80q", len(got), len(c.want), got)
				}
			}
		})
	}
}

func TestLinesTooLong(t *testing.T) {
	for _, size := range []int{maxLine + 1, maxLine + 64<<10, 3_000_000} {
		for _, end := range []string{"", "\n", "\nnext\n"} {
			long := "{" + strings.Repeat("ä", size/2) + strings.Repeat("z", size%2)
			long = long[:size]
			got := readAll(t, strings.NewReader("before\n"+long+end))
			want := 2 + strings.Count(end, "next")
			if len(got) != want || got[0] != "before" || got[want-1] != "next" && want == 3 {
				t.Fatalf("size %d end %q: %d lines, %.60q", size, end, len(got), got)
			}
			_, err := domain.Parse([]byte(got[1]))
			sum := sha256.Sum256([]byte(long))
			if domain.ReasonOf(err) != domain.TooLarge || !strings.Contains(err.Error(), hex.EncodeToString(sum[:])) ||
				!strings.Contains(err.Error(), strconv.Itoa(size)) {
				t.Fatalf("size %d: %v", size, err)
			}
			if n := len(got[1]); n < maxHead || n > 2*maxHead {
				t.Fatalf("%d bytes are kept of it", n)
			}
		}
	}
}

// endless is a line of n bytes that nobody holds in memory.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.n)
	for i := range p[:n] {
		p[i] = 'e'
	}
	e.n -= n
	return int(n), nil
}

func TestLinesNeedLittleMemory(t *testing.T) {
	const size = 64 << 20
	l := newLines(&endless{size})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	line, err := l.next()
	runtime.ReadMemStats(&after)
	if err != nil || l.n != size || !bytes.Contains(line, []byte("too_large")) {
		t.Fatalf("%d bytes read, error %v", l.n, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Fatalf("%d bytes allocated for a line that is not kept", used)
	}
}

func TestLinesGiveReadErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, in := range []string{"", "half a line", strings.Repeat("x", maxLine+9)} {
		l := newLines(io.MultiReader(strings.NewReader("a\n"+in), iotest.ErrReader(broken)))
		if line, err := l.next(); err != nil || string(line) != "a" {
			t.Fatalf("%q %v", line, err)
		}
		if line, err := l.next(); !errors.Is(err, broken) || line != nil {
			t.Fatalf("%d bytes of %d and error %v: half a line is no line", len(line), len(in), err)
		}
	}
}

func event(delivery string) string {
	return `{"event":"public","delivery":"` + delivery + `","payload":{}}`
}

// fed feeds an input and gives the delivery ids that were taken.
func fed(t *testing.T, in *input) (ids []string, err error) {
	t.Helper()
	_, err = in.feed(t.Context(), func(_ context.Context, line []byte) error {
		e, err := domain.Parse(line)
		if err != nil {
			e.Delivery = string(domain.ReasonOf(err))
		}
		ids = append(ids, e.Delivery)
		return nil
	}, nil)
	return ids, err
}

func TestFeedRepeatsWithFreshIDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(path, []byte(event("a")+"\n\n"+event("b")), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := openInput(path, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := fed(t, in)
	want := []string{"a", "empty line", "b", "a-2", "empty line", "b-2", "a-3", "empty line", "b-3"}
	if err != nil || !slices.Equal(ids, want) {
		t.Fatalf("%q, error %v", ids, err)
	}
}

func TestFeedReadsStdinAndSample(t *testing.T) {
	in, err := openInput("-", strings.NewReader(event("a")+"\n"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := fed(t, in); err != nil || !slices.Equal(ids, []string{"a"}) {
		t.Fatalf("%q, error %v", ids, err)
	}
	in, err = openInput("", nil, 2)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := fed(t, in)
	if want := 2 * parseAll(t, sample()).lines; err != nil || len(ids) != want {
		t.Fatalf("%d lines, want %d, error %v", len(ids), want, err)
	}
}

func TestOpenInputRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"no such file": filepath.Join(dir, "none"), "a directory": dir} {
		in, err := openInput(path, nil, 1)
		if !errors.Is(err, errInput) || in != nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	defer func() { _ = w.Close() }()
	if _, err := openInput(fmt.Sprintf("/dev/fd/%d", r.Fd()), nil, 2); !errors.Is(err, errInput) {
		t.Errorf("a pipe, twice: %v", err)
	}
}

func TestFeedStopsAtAnError(t *testing.T) {
	full := errors.New("full")
	in, err := openInput("-", strings.NewReader("1\n2\n3\n"), 1)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	taken, err := in.feed(t.Context(), func(context.Context, []byte) error {
		calls++
		if calls == 2 {
			return full
		}
		return nil
	}, nil)
	if taken != 1 || calls != 2 || !errors.Is(err, full) || !strings.Contains(err.Error(), "line 2 of stdin") {
		t.Fatalf("%d taken in %d calls, error %v", taken, calls, err)
	}

	broken := errors.New("disk on fire")
	in, err = openInput("-", io.MultiReader(strings.NewReader("1\n"), iotest.ErrReader(broken)), 1)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := fed(t, in)
	if len(ids) != 1 || !errors.Is(err, errInput) || !errors.Is(err, broken) || !strings.Contains(err.Error(), "stdin: line 2") {
		t.Fatalf("%q, error %v", ids, err)
	}
}

func TestFeedReturnsWhileStdinWaits(t *testing.T) {
	r, w := io.Pipe()
	in, err := openInput("-", r, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	go func() { _, _ = w.Write([]byte("1\n")) }()
	taken, err := in.feed(ctx, func(context.Context, []byte) error {
		cancel(stop) // the next read will wait for ever
		return nil
	}, nil)
	if taken != 1 || !errors.Is(err, stop) {
		t.Fatalf("%d taken, error %v", taken, err)
	}
	if err := w.Close(); err != nil { // lets the reader go
		t.Fatal(err)
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &progress{w: &out}
		for i := range int64(25) {
			p.tick(i, i*10, 250)
			time.Sleep(100 * time.Millisecond)
		}
		if got := strings.Count(out.String(), "\r"); got != 3 || !strings.Contains(out.String(), "10 events, 40 %, 10/s") {
			t.Fatalf("%d lines in 2.5 s: %q", got, out.String())
		}
		p.done()
		if !strings.HasSuffix(out.String(), "\r\x1b[K") {
			t.Fatalf("the line stays: %q", out.String())
		}
	})
	if newProgress(&bytes.Buffer{}) != nil {
		t.Fatal("progress into a buffer")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if newProgress(f) != nil {
		t.Fatal("progress into a file")
	}
	var none *progress
	none.tick(1, 1, 1)
	none.done()
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\n\nb\r\n\x00"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		if len(in) > maxLine {
			return
		}
		got := readAll(t, &stepReader{in, int(step)%7 + 1})
		back := strings.Join(got, "\n")
		if bytes.HasSuffix(in, []byte{'\n'}) {
			back += "\n"
		}
		if back != string(in) {
			t.Fatalf("%q became %q", in, got)
		}
	})
}

// stepReader gives a few bytes at a time.
type stepReader struct {
	in   []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.in[:min(r.step, len(r.in))])
	r.in = r.in[n:]
	return n, nil
}
