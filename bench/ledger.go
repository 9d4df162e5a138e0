package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

var (
	errAgain    = errors.New("messages came more than once")
	errDisorder = errors.New("out of order within a key")
	errStrange  = errors.New("no message of this run")
)

// A ledger marks the messages of one run by their numbers, each of which must come once. It is safe for
// concurrent use.
type ledger struct {
	n     int
	seen  []atomic.Uint64 // a bit a number
	left  atomic.Int64
	again atomic.Int64
	keys  []keyState // where order is watched; else nil

	over chan struct{} // closed when all have come, or one of them is wrong
	mu   sync.Mutex
	done bool
	err  error // the first
}

// A keyState is what the last message of a key came to.
type keyState struct {
	busy atomic.Bool
	last atomic.Int64 // its number and one
}

func newLedger(n int) *ledger {
	const word = 64
	l := &ledger{n: n, seen: make([]atomic.Uint64, n/word+1), over: make(chan struct{})}
	l.left.Store(int64(n))
	if n == 0 {
		l.finish(nil)
	}
	return l
}

// watch has the ledger see that messages of one key follow each other.
func (l *ledger) watch() *ledger {
	l.keys = make([]keyState, keyCount)
	return l
}

// mark says that a message came.
func (l *ledger) mark(body []byte) {
	const word = 64
	i := number(body)
	if i < 0 || i >= l.n {
		l.finish(fmt.Errorf("%w: %q", errStrange, body[:min(len(body), 32)]))
		return
	}
	bit := uint64(1) << (i % word)
	if l.seen[i/word].Or(bit)&bit != 0 {
		l.again.Add(1)
		return
	}
	if l.left.Add(-1) == 0 {
		l.finish(nil)
	}
}

// during marks a message that is worked on while work runs: no other of its key may be, and none that
// comes after it may have been.
func (l *ledger) during(body []byte, work func()) {
	i := number(body)
	if i < 0 || i >= l.n {
		l.mark(body)
		return
	}
	k := &l.keys[i%keyCount]
	if !k.busy.CompareAndSwap(false, true) {
		l.finish(fmt.Errorf("%w: message %d is worked on while another of its key is", errDisorder, i))
		return
	}
	if last := k.last.Swap(int64(i) + 1); last > int64(i)+1 {
		l.finish(fmt.Errorf("%w: message %d comes after message %d", errDisorder, i, last-1))
	}
	work()
	k.busy.Store(false)
	l.mark(body)
}

// finish ends the run, with an error or without. What is wrong behind its end is for check.
func (l *ledger) finish(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	if !l.done {
		l.done = true
		close(l.over)
	}
}

// wrong is what ended the run.
func (l *ledger) wrong() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// wait waits until all have come.
func (l *ledger) wait(ctx context.Context) error {
	select {
	case <-l.over:
		return l.wrong()
	case <-ctx.Done():
		return fmt.Errorf("%d of %d messages have not come: %w", l.left.Load(), l.n, context.Cause(ctx))
	}
}

// came counts those that have come.
func (l *ledger) came() int64 { return int64(l.n) - l.left.Load() }

// check says what was wrong, and what came again.
func (l *ledger) check() error {
	if err := l.wrong(); err != nil {
		return err
	}
	if again := l.again.Load(); again > 0 {
		return fmt.Errorf("%w: %d of %d", errAgain, again, l.n)
	}
	return nil
}
