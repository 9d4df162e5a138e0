package channel

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestErrors(t *testing.T) {
	for _, err := range []error{
		ErrDecode, ErrEncode, ErrInvalid, ErrNoRoute, ErrUndeclared, ErrNoResult, ErrLoop, ErrTooLarge, ErrTombstone, ErrNotCarried,
	} {
		wrapped := errors.Join(errors.New("another"), fmt.Errorf("step x: %w", err))
		if _, later := IsLater(wrapped); !IsPermanent(wrapped) || !errors.Is(wrapped, err) || later {
			t.Errorf("%v, wrapped, is permanent: %t, itself: %t, later: %t", err, IsPermanent(wrapped), errors.Is(wrapped, err), later)
		}
	}
	for _, err := range []error{nil, ErrExpired, ErrStopped, context.Canceled, errors.New("plain")} {
		if IsPermanent(err) {
			t.Errorf("%v is permanent", err)
		}
	}
	if errors.Is(ErrDecode, ErrInvalid) {
		t.Error("ErrDecode is ErrInvalid")
	}
}

func TestPermanentAndLater(t *testing.T) {
	cause := errors.New("cause")
	if Permanent(nil) != nil || Later(nil, time.Second) != nil {
		t.Error("nil became an error")
	}
	if err := Permanent(cause); err.Error() != "cause" || !errors.Is(err, cause) {
		t.Errorf("%v does not wrap its cause", err)
	}
	later := fmt.Errorf("store: %w", Later(cause, time.Minute))
	if after, ok := IsLater(later); !ok || after != time.Minute || !errors.Is(later, cause) || IsPermanent(later) || later.Error() != "store: cause" {
		t.Errorf("%v: later %t after %v", later, ok, after)
	}
	if after, ok := IsLater(cause); ok || after != 0 {
		t.Errorf("a plain error is later, after %v", after)
	}
}

func TestIsExpired(t *testing.T) {
	expired, cancel := context.WithCancelCause(context.Background())
	cancel(ErrExpired)
	stopped, cancel := context.WithCancelCause(context.Background())
	cancel(ErrStopped)
	other := errors.New("other")
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want bool
	}{
		{"by its error", context.Background(), fmt.Errorf("work: %w", ErrExpired), true},
		{"by its context", expired, other, true},
		{"stopped", stopped, context.Canceled, false},
		{"neither", context.Background(), other, false},
	} {
		if IsExpired(c.ctx, c.err) != c.want {
			t.Errorf("%s: %t", c.name, !c.want)
		}
	}
}
