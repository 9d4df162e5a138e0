package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

const (
	maxLine = 1 << 20 // bytes of one event that is kept whole, from a file as over HTTP
	maxHead = 4 << 10 // bytes that are kept of a longer one
)

// errInput is wrapped by every error that means: the input cannot be read.
var errInput = errors.New("input cannot be read")

// A take hands one event, as a line of JSON, to the first topic of the flow. nil means that the flow
// has taken it: in memory it is settled, on a broker it is published. The line is the flow's then. It
// is safe for concurrent use.
type take func(ctx context.Context, line []byte) error

// lines reads lines of any length in bounded memory.
type lines struct {
	r *bufio.Reader
	n int64 // bytes read
}

func newLines(r io.Reader) *lines {
	return &lines{r: bufio.NewReaderSize(r, 64<<10)}
}

// next gives the next line without its "\n", or io.EOF. Of a line above maxLine it gives what
// domain.Oversize says of it: the size and the hash are those of the whole line.
func (l *lines) next() ([]byte, error) {
	var line []byte
	for {
		chunk, err := l.r.ReadSlice('\n')
		l.n += int64(len(chunk))
		body, ended := bytes.CutSuffix(chunk, []byte{'\n'})
		if len(line)+len(body) > maxLine {
			return l.oversize(line, body, ended, err)
		}
		line = append(line, body...)
		switch {
		case ended:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(chunk)+len(line) > 0: // the last line has no end
			return line, nil
		case err != nil:
			return nil, err //nolint:wrapcheck // feed names input and line.
		}
	}
}

// oversize reads to the end of a line of which line and chunk are the beginning.
func (l *lines) oversize(line, chunk []byte, ended bool, err error) ([]byte, error) {
	sum := sha256.New()
	sum.Write(line)
	sum.Write(chunk)
	o := domain.Oversize{Size: int64(len(line) + len(chunk))}
	head := append(line, chunk...)[:maxHead]
	o.Head = strings.ToValidUTF8(string(head), "\uFFFD")
	for !ended && errors.Is(err, bufio.ErrBufferFull) {
		chunk, err = l.r.ReadSlice('\n')
		l.n += int64(len(chunk))
		chunk, ended = bytes.CutSuffix(chunk, []byte{'\n'})
		sum.Write(chunk)
		o.Size += int64(len(chunk))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err //nolint:wrapcheck // feed names input and line.
	}
	o.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return o.Line(), nil
}

// An input is a stream of JSON Lines that is fed to the flow, once or several times.
type input struct {
	name   string
	size   int64 // bytes of one pass; 0: unknown
	repeat int
	open   func() (io.ReadCloser, error)
	first  io.ReadCloser // opened by openInput, so that what is unreadable is known before anything runs
}

// openInput opens what path names: a file, "-" for stdin, "" for the built-in sample. Its error wraps
// errInput.
func openInput(path string, stdin io.Reader, repeat int) (*input, error) {
	in := &input{name: path, repeat: repeat}
	switch path {
	case "":
		in.name, in.open = "the sample", func() (io.ReadCloser, error) { return io.NopCloser(sample()), nil }
	case "-":
		in.name, in.open = "stdin", func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil }
	default:
		in.open = func() (io.ReadCloser, error) { return os.Open(path) }
	}
	f, err := in.open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInput, err)
	}
	in.first = f
	if file, ok := f.(*os.File); ok {
		if err := in.stat(file); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return in, nil
}

func (in *input) stat(f *os.File) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errInput, err)
	case info.IsDir():
		return fmt.Errorf("%w: %s is a directory, name a file of JSON Lines", errInput, in.name)
	case info.Mode().IsRegular():
		in.size = info.Size()
	case in.repeat > 1:
		return fmt.Errorf("%w: %s can be read only once, leave out -repeat", errInput, in.name)
	}
	return nil
}

// Close lets go of an input that was never fed.
func (in *input) Close() error {
	if in.first == nil {
		return nil
	}
	f := in.first
	in.first = nil
	return f.Close() //nolint:wrapcheck // A file's own error names it.
}

// feed gives every line to give, in order, in each pass, and counts those taken. When ctx ends it
// returns at once with the cause, even while a read of stdin waits for input: a line that was read and
// not given was never received. It may be called once.
func (in *input) feed(ctx context.Context, give take, p *progress) (taken int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream := make(chan read, 64) // the reader's advance; 64 MiB at the very worst
	go in.read(ctx, stream)
	total := in.size * int64(in.repeat)
	for {
		var r read
		select {
		case <-ctx.Done():
			return taken, context.Cause(ctx)
		case r = <-stream:
		}
		switch {
		case ctx.Err() != nil:
			return taken, context.Cause(ctx)
		case errors.Is(r.err, io.EOF):
			return taken, nil
		case r.err != nil:
			return taken, r.err
		}
		if err := give(ctx, r.line); err != nil {
			return taken, fmt.Errorf("handing line %d of %s to the flow: %w", taken+1, in.name, err)
		}
		taken++
		p.tick(taken, r.at, total)
	}
}

// A read is one line, or why there is none: io.EOF after the last.
type read struct {
	line []byte
	at   int64 // bytes read so far, over all passes
	err  error
}

// read sends every line of every pass and then io.EOF or an error.
func (in *input) read(ctx context.Context, to chan<- read) {
	send := func(r read) bool {
		select {
		case to <- r:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var before int64
	for pass := 1; pass <= in.repeat; pass++ {
		n, err := in.pass(pass, before, send)
		if err != nil {
			send(read{err: fmt.Errorf("%w: %s: %w", errInput, in.name, err)})
			return
		}
		before += n
	}
	send(read{err: io.EOF})
}

// pass reads the input once. From the second pass on every event gets a delivery id of its own.
func (in *input) pass(n int, before int64, send func(read) bool) (size int64, err error) {
	f := in.first
	in.first = nil
	if f == nil {
		if f, err = in.open(); err != nil {
			return 0, err
		}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	l := newLines(f)
	for count := 1; ; count++ {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return l.n, nil
		}
		if err != nil {
			return l.n, fmt.Errorf("line %d: %w", count, err)
		}
		if n > 1 {
			line = domain.Repeated(line, n)
		}
		if !send(read{line: line, at: before + l.n}) {
			return l.n, nil
		}
	}
}
