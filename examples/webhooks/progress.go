package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress says on a terminal how far a long input is: nothing in the first second, then twice a
// second on one line. The nil progress says nothing. Use it from one goroutine.
type progress struct {
	w       io.Writer
	began   time.Time
	last    time.Time
	written bool
}

const (
	progressAfter = time.Second
	progressEvery = time.Second / 2
)

// newProgress gives nil unless w is a terminal: a log file wants no progress.
func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &progress{w: w}
}

// tick notes that so many events, up to byte at of total (0: unknown), are taken.
func (p *progress) tick(events, at, total int64) {
	if p == nil {
		return
	}
	now := time.Now()
	if p.began.IsZero() {
		p.began = now
	}
	if now.Sub(p.began) < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.written = now, true
	share := ""
	if total > 0 {
		share = fmt.Sprintf(", %d %%", at*100/total)
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%d events%s, %.0f/s", events, share, float64(events)/now.Sub(p.began).Seconds())
}

// done wipes the line.
func (p *progress) done() {
	if p != nil && p.written {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
		p.written = false
	}
}
