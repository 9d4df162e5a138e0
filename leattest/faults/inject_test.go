package faults_test

import "errors"

// A fault is what happens to one call.
type fault uint8

const (
	none    fault = iota
	before        // it fails, and had no effect
	after         // it had its effect, and the answer is lost
	killed        // the process dies before it
	widowed       // the process dies after it
)

var (
	errDown = errors.New("connection refused")
	errGone = errors.New("this process was killed")
)

// rarely has calls fail, before or after their effect, one in n each; but no commit of a receiver fails
// before: that repeats an effect, by design.
func (w *world) rarely(n int) func(call, id string) fault {
	return func(call, id string) fault {
		switch w.dice.roll(n, call, id) {
		case 0:
			if call == "commit" {
				return none
			}
			return before
		case 1:
			return after
		}
		return none
	}
}

// call makes a call that may fail.
func call[R any](p *process, what, id string, f func() (R, error)) (R, error) {
	var zero R
	if p.gone() {
		return zero, errGone
	}
	happens := none
	if p.fault != nil {
		happens = p.fault(what, id)
	}
	if what == "finish" && happens < killed { // it gives no answer
		happens = none
	}
	switch happens {
	case before:
		p.w.ledger.count("failed calls")
		return zero, errDown
	case killed:
		p.die()
		return zero, errGone
	}
	r, err := f()
	switch {
	case err != nil:
		return r, err
	case happens == after:
		p.w.ledger.count("lost answers")
		return zero, errDown
	case happens == widowed:
		p.die()
		return zero, errGone
	}
	return r, nil
}

func (p *process) die() {
	p.w.ledger.count("kills")
	p.kill()
}

// do is call without a result.
func do(p *process, what, id string, f func() error) error {
	_, err := call(p, what, id, func() (struct{}, error) { return struct{}{}, f() })
	return err
}
