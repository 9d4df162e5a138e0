package channel

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expired, cancel := context.WithCancelCause(t.Context())
		cancel(ErrExpired)
		deadline := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339Nano) }
		errWork := errors.New("work")
		for _, c := range []struct {
			name     string
			deadline string
			ctx      context.Context
			err      error
			enters   bool
			caught   bool
		}{
			{"no deadline", "", t.Context(), nil, true, false},
			{"in time", deadline(time.Nanosecond), t.Context(), nil, true, false},
			{"at the deadline", deadline(0), t.Context(), nil, false, false},
			{"too late", deadline(-time.Hour), t.Context(), nil, false, false},
			{"another error", deadline(time.Hour), t.Context(), errWork, true, false},
			{"during the work", deadline(time.Hour), expired, errWork, true, true},
			{"done in spite of it", deadline(time.Hour), expired, nil, true, false},
		} {
			e := arrived(Arrival{Context: c.ctx, ID: "1", Key: "k", Payload: []byte("p"), Headers: Fields{{HeaderExpires, c.deadline}, {"tenant", "a"}}})
			r, exit, err := Expiry{To: "late"}.Enter(e)
			if err != nil || (r.Outcome() == Unsaid) != c.enters {
				t.Errorf("%s: on the way in %v, %v", c.name, r.Outcome(), err)
				continue
			}
			if c.enters {
				r, err = exit(Done(), c.err)
				if !c.caught {
					if !errors.Is(err, c.err) || r.Outcome() != Finished {
						t.Errorf("%s: %v, %v", c.name, r.Outcome(), err)
					}
					continue
				}
			}
			if err != nil || r.Outcome() != Expired || r.Len() != 1 {
				t.Errorf("%s: %v, %d deliveries, %v", c.name, r.Outcome(), r.Len(), err)
				continue
			}
			out := followed(e, *r.At(0), 0)
			if string(mustPayload(t, out)) != "p" || out.Key() != "k" || out.Topic() != "late" || out.Get("tenant") != "a" {
				t.Errorf("%s: to %s under %q: %v", c.name, out.Topic(), out.Key(), out.Fields())
			}
			if out.Get(HeaderExpires) != "" {
				t.Errorf("%s: the message expires again", c.name)
			}
		}
	})
}

func TestExpiryUnreadable(t *testing.T) {
	e := arrived(Arrival{Payload: []byte("p"), Headers: Fields{{HeaderExpires, "tomorrow"}}})
	r, exit, err := Expiry{To: "late"}.Enter(e)
	if r.Outcome() != Unsaid || exit == nil || !IsPermanent(err) || !strings.Contains(err.Error(), HeaderExpires) {
		t.Fatalf("%v, %v", r.Outcome(), err)
	}
	if r, got := exit(r, err); !errors.Is(got, err) || r.Len() != 0 {
		t.Errorf("%d deliveries, %v", r.Len(), got)
	}
}

func TestExpiryTick(t *testing.T) {
	_, exit, _ := Expiry{To: "late"}.Enter(arrived(Arrival{Tick: true, Key: "group"}))
	if r, err := exit(Result{}, ErrExpired); !errors.Is(err, ErrExpired) || r.Len() != 0 {
		t.Errorf("a tick was sent as a message: %d deliveries, %v", r.Len(), err)
	}
}

func TestExpiryShape(t *testing.T) {
	if s := (Expiry{To: "late"}).Shape(); s.Err != nil || len(s.Outlets) != 1 || s.Outlets[0].Topic != "late" || s.Pattern != "Message Expiration" {
		t.Errorf("%+v", s)
	}
	if s := (Expiry{}).Shape(); s.Err == nil || !strings.Contains(s.Err.Error(), "Expiry.To is empty") {
		t.Errorf("%v", s.Err)
	}
}
