package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// explosive is a codec that panics for some bodies.
type explosive struct{ channel.JSON }

func (x explosive) Encode(body any) ([]byte, error) {
	if s, ok := body.(sticker); ok && s.N == 13 {
		panic("encoding 13")
	}
	return x.JSON.Encode(body)
}

func (x explosive) Decode(payload []byte, body any) error {
	if strings.Contains(string(payload), "bomb") {
		panic("decoding a bomb")
	}
	return x.JSON.Decode(payload, body)
}

// rude is an error that panics when it is asked.
type rude struct{}

func (*rude) Error() string { panic("an error panics") }

// A panic anywhere is an error of its message: the process lives, the next message gets through, and
// the stack is in the dead letter.
func TestAPanicIsAnErrorOfItsMessage(t *testing.T) {
	yes := func(parcel) bool { return true }
	enter := func(e func(*channel.Envelope) (channel.Result, channel.Exit, error)) flow.Part {
		return flow.Around(guardian{enter: e})
	}
	bad := func(id string) bool { return id == "bad" }
	for name, x := range map[string]struct {
		parts []flow.Part
		bad   parcel
		where string // in the stack
		class string
	}{
		"handler": {[]flow.Part{flow.Step("a", arrivals, endpoint.Do(func(_ context.Context, p parcel) error {
			if bad(p.ID) {
				panic(errFlaky)
			}
			return nil
		}))}, parcel{}, "panic_test.go", "panic"},
		"predicate": {[]flow.Part{flow.Step("a", arrivals, router.Filter(func(p parcel) bool {
			if bad(p.ID) {
				panic("predicate")
			}
			return true
		}, sorted))}, parcel{}, "filter.go", "panic"},
		"mapper, over a direct hop": {[]flow.Part{
			flow.Step("a", arrivals, router.Filter(yes, sorted)), flow.Direct(sorted),
			flow.Step("b", sorted, translator.Map(func(p parcel) (sticker, error) {
				if bad(p.ID) {
					var none map[string]int
					none["x"] = 1 //nolint:staticcheck // That it panics is the point.
				}
				return stick(p)
			}, stickers)),
		}, parcel{}, "map.go", "panic"},
		"codec, decoding": {
			[]flow.Part{flow.Step("a", arrivals, router.Filter(yes, sorted)), flow.Codec(explosive{})},
			parcel{Kind: "bomb"},
			"Decode", "panic",
		},
		"codec, encoding": {
			[]flow.Part{flow.Step("a", arrivals, translator.Map(stick, stickers)), flow.Codec(explosive{})},
			parcel{N: 13},
			"Encode", "panic",
		},
		"interceptor, entering": {[]flow.Part{flow.Step("a", arrivals, router.Filter(yes, sorted), enter(
			func(e *channel.Envelope) (channel.Result, channel.Exit, error) {
				if bad(e.ID()) {
					panic("enter")
				}
				return channel.Result{}, nil, nil
			}))}, parcel{}, "panic_test.go", "panic"},
		"interceptor, leaving": {[]flow.Part{flow.Step("a", arrivals, router.Filter(yes, sorted), enter(
			func(e *channel.Envelope) (channel.Result, channel.Exit, error) {
				return channel.Result{}, func(r channel.Result, err error) (channel.Result, error) {
					if bad(e.ID()) {
						panic("exit")
					}
					return r, err
				}, nil
			}))}, parcel{}, "panic_test.go", "panic"},
		"Failed": {[]flow.Part{flow.Step("a", arrivals, block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			if bad(m.ID()) {
				return channel.Result{}, errFlaky
			}
			return channel.Done(), nil
		}, channel.Shape{Failed: func(*channel.Envelope, error) (channel.Result, error) { panic("failed") }}})}, parcel{}, "", ""},
		"what Failed sends": {[]flow.Part{flow.Codec(explosive{}), flow.Step("a", arrivals, block[parcel]{
			func(m channel.Message[parcel]) (channel.Result, error) {
				if bad(m.ID()) {
					return channel.Result{}, errFlaky
				}
				return channel.Done(), nil
			}, channel.Shape{
				Outlets: []channel.Outlet{channel.Out("", stickers)},
				Failed: func(*channel.Envelope, error) (channel.Result, error) {
					return channel.Send(channel.To(stickers, sticker{N: 13})), nil
				},
			},
		})}, parcel{}, "", ""},
		"the error itself": {[]flow.Part{flow.Step("a", arrivals, endpoint.Do(func(_ context.Context, p parcel) error {
			if bad(p.ID) {
				return &rude{}
			}
			return nil
		}))}, parcel{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				r := newRig(t, how, append(x.parts, quick())...)
				x.bad.ID = "bad"
				r.give("arrivals", "k", x.bad)
				r.give("arrivals", "k", parcel{ID: "good"})
				r.wait(time.Hour)
				letters := r.on("dead")
				if len(letters) != 1 {
					t.Fatalf("%d dead letters: %v", len(letters), r.h.Counts())
				}
				l := letters[0]
				if x.class != "" && (l.Headers[flow.DeadClass] != x.class || !strings.Contains(l.Headers[flow.DeadError], "panic: ")) {
					t.Errorf("class %q, error %q", l.Headers[flow.DeadClass], l.Headers[flow.DeadError])
				}
				if x.class != "" && (!strings.Contains(l.Headers[flow.DeadStack], x.where) || len(l.Headers[flow.DeadStack]) > 4<<10) {
					t.Errorf("the stack does not name %s:\n%s", x.where, l.Headers[flow.DeadStack])
				}
				if want := string(must(json.Marshal(x.bad))(t)); l.Payload != want || l.Key != "k" || l.ID != "bad" {
					t.Errorf("the dead letter is not a copy: %v", l)
				}
				if c := r.count("a"); c.Dead != 1 || c.Received != 2 {
					t.Errorf("accounts: %v", c)
				}
			}, claims, routed)
		})
	}
}

// The exits of the interceptors that were entered run with the panic, so that what they claimed is let go.
func TestAPanicRunsTheExits(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var d diary
		around := func(name string) channel.Interceptor {
			return guardian{enter: func(*channel.Envelope) (channel.Result, channel.Exit, error) {
				return channel.Result{}, func(r channel.Result, err error) (channel.Result, error) {
					d.add(name + ": " + err.Error())
					return r, err
				}, nil
			}}
		}
		r := newRig(t, how, flow.Policy{Attempts: 1, DeadLetter: dead}, flow.Around(around("flow")),
			flow.Step("a", arrivals, endpoint.Do(func(context.Context, parcel) error { panic("no") }), flow.Around(around("outer"), around("inner"))))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		if got := strings.Join(d.read(), ", "); got != "inner: panic: no, outer: panic: no, flow: panic: no" {
			t.Errorf("exits: %s", got)
		}
	})
}

// A settle that panics is a settle that failed: nothing is acknowledged, it is tried again.
func TestASettleThatPanicsFailed(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		n := 0
		r := newRig(t, how, quick(), flow.Step("a", arrivals, block[parcel]{func(channel.Message[parcel]) (channel.Result, error) {
			return channel.Done().Settle(func(context.Context, error) error {
				if n++; n < 5 {
					panic("settle")
				}
				return nil
			}), nil
		}, channel.Shape{}}))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		r.is("a", "received=1 done=1 later=4")
	})
}

// Of the settles every one runs once, innermost first; with an error none hears of success after it.
func TestSettlesNestAndRunOnce(t *testing.T) {
	errInner := errors.New("inner")
	everyWay(t, func(t *testing.T, how string) {
		var d diary
		settle := func(name string, err error) func(context.Context, error) error {
			return func(ctx context.Context, why error) error {
				if ctx.Err() != nil {
					t.Error("the context of a settle has ended")
				}
				say := "ok"
				if why != nil {
					say = "not ok"
				}
				d.add(name + " " + say)
				if len(d.read()) > 3 {
					return nil
				}
				return err
			}
		}
		r := newRig(t, how, quick(), flow.Direct(sorted),
			flow.Step("a", arrivals, block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
				return channel.Send(channel.Forward(sorted, m)).Settle(settle("root", nil)), nil
			}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted)}}}),
			flow.Step("b", sorted, block[parcel]{func(channel.Message[parcel]) (channel.Result, error) {
				return channel.Done().Settle(settle("child inner", errInner)).Settle(settle("child outer", nil)), nil
			}, channel.Shape{}}))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		want := "child inner ok, child outer not ok, root not ok, child inner ok, child outer ok, root ok"
		if got := strings.Join(d.read(), ", "); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	})
}

// A panic's value may be a message: its text is in logs, spans and dead letters, so it is the type alone,
// unless the value says of itself what it is.
func TestAPanicQuotesNoValue(t *testing.T) {
	const secret = "s3cr3t"
	for what, x := range map[string]struct {
		value any
		want  string
	}{
		"a struct":   {parcel{ID: secret}, "panic: a flow_test.parcel"},
		"a pointer":  {&parcel{ID: secret}, "panic: a *flow_test.parcel"},
		"bytes":      {[]byte(secret), "panic: a []uint8"},
		"an error":   {errFlaky, "panic: flaky"},
		"a text":     {"boom", "panic: boom"},
		"a Stringer": {time.Second, "panic: 1s"},
	} {
		everyWay(t, func(t *testing.T, how string) {
			var told error
			policy := quick()
			policy.OnRetry = func(r flow.Retry) { told = r.Err }
			r := newRig(t, how, policy, flow.Step("a", arrivals, endpoint.Do(func(context.Context, parcel) error { panic(x.value) })))
			r.give("arrivals", "", parcel{ID: "p1"})
			r.wait(time.Minute)
			letters := r.on("dead")
			if len(letters) != 1 || letters[0].Headers[flow.DeadError] != x.want {
				t.Errorf("%s: the dead letters are %v; want one of %q", what, letters, x.want)
			}
			for _, verb := range []string{"%v", "%+v", "%#v"} {
				if text := fmt.Sprintf(verb, told); strings.Contains(text, secret) {
					t.Errorf("%s: %s of the error is %s", what, verb, text)
				}
			}
		}, claims)
	}
}
