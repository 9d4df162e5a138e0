package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

var errNoRoom = errors.New("no room")

// fails is a block whose messages die at once, unless they are good, and which then says word.
func fails[T any](to channel.Topic[T], word func() channel.Result) block[parcel] {
	return block[parcel]{
		func(m channel.Message[parcel]) (channel.Result, error) {
			if m.ID() == "good" {
				return channel.Done(), nil
			}
			return channel.Result{}, channel.Permanent(errFlaky)
		},
		channel.Shape{
			Outlets: []channel.Outlet{channel.Out("", to)},
			Failed:  func(*channel.Envelope, error) (channel.Result, error) { return word(), nil },
		},
	}
}

// What Failed sends over a direct hop is owed as anything else is: while that hop waits, the message does; if
// it fails, the message is buried with both reasons. Breaks if the hop's error is not that of the death: then
// Drop with a compensation drops the message with none, and half of what the hop sends goes out.
func TestWhatFailedSendsOverADirectHopIsNotLost(t *testing.T) {
	const undo, stored, out channel.Topic[int] = "undo", "stored", "out"
	for name, word := range map[string]func() channel.Result{
		"send": func() channel.Result { return channel.Send(channel.To(undo, 1)) },
		"drop": func() channel.Result { return channel.Drop("undone").And(channel.To(undo, 1)) },
	} {
		for _, later := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, later %v", name, later), func(t *testing.T) {
				everyWay(t, func(t *testing.T, how string) {
					why, settled, mended := errNoRoom, &diary{}, atomic.Bool{}
					if later {
						why = channel.Later(errNoRoom, time.Second)
					}
					r := newRig(t, how, quick(), flow.Direct(undo, stored),
						flow.Step("a", arrivals, fails(undo, word)),
						flow.Step("undo", undo, block[int]{
							func(channel.Message[int]) (channel.Result, error) {
								return channel.Send(channel.To(out, 2), channel.To(stored, 1)).Settle(func(_ context.Context, err error) error {
									settled.add(fmt.Sprint(err != nil))
									return nil
								}), nil
							},
							channel.Shape{Outlets: []channel.Outlet{channel.Out("", out), channel.Out("", stored)}},
						}),
						flow.Step("store", stored, block[int]{func(channel.Message[int]) (channel.Result, error) {
							if mended.Load() {
								return channel.Done(), nil
							}
							return channel.Result{}, why
						}, channel.Shape{}}))
					r.give("arrivals", "k", parcel{ID: "bad"})
					r.wait(10 * time.Second)
					if n := len(r.on("out")); n != 0 {
						t.Errorf("%d messages of a branch that failed are out", n)
					}
					if got := settled.read(); slices.Contains(got, "false") {
						t.Error("a branch that failed was settled as if it had not")
					}
					if later {
						if n := len(r.on("dead")); n != 0 || r.count("a").InFlight != 1 {
							t.Errorf("it does not wait: %v, %d dead letters", r.count("a"), n)
						}
						mended.Store(true)
						r.wait(10 * time.Second)
						if len(r.on("out")) != 1 || r.count("store").Done != 1 || !slices.Contains(settled.read(), "false") {
							t.Errorf("after the wait: %v", r.h.Counts())
						}
						return
					}
					letters := r.on("dead")
					if len(letters) != 1 || r.count("a").Dead != 1 {
						t.Fatalf("%d dead letters: %v", len(letters), r.h.Counts())
					}
					l := letters[0]
					if says := l.Headers[flow.DeadError]; l.Headers[flow.DeadStep] != "a" || !strings.Contains(says, errFlaky.Error()) || !strings.Contains(says, errNoRoom.Error()) {
						t.Errorf("the letter of step %s says %q", l.Headers[flow.DeadStep], says)
					}
				})
			})
		}
	}
}

// A reply from Failed that its topic will never take kills no key: the message is buried without it, the letter
// says why, and the next of the key gets through. Breaks if only a first refusal counts: the reply is sent for ever,
// and its key waits for it.
func TestAReplyThatIsRefusedForGoodHoldsNoKey(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := &rig{T: t, How: how, wire: &wire{fail: func(topic, _ string, _ int) error {
			if topic == "stickers" {
				return channel.Permanent(errNoRoom)
			}
			return nil
		}}}
		r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, fails(stickers, func() channel.Result {
			return channel.Send(channel.To(stickers, sticker{N: 1}))
		}))))
		r.give("arrivals", "k", parcel{ID: "bad"})
		r.give("arrivals", "k", parcel{ID: "good"})
		r.wait(time.Minute)
		r.is("a", "received=2 done=1 dead=1")
		letters := r.on("dead") // the first may have gone out beside the reply, under the same id
		if len(letters) == 0 {
			t.Fatal("no dead letter")
		}
		l := letters[len(letters)-1]
		if says := l.Headers[flow.DeadError]; l.ID != "bad" || !strings.Contains(says, errFlaky.Error()) || !strings.Contains(says, errNoRoom.Error()) {
			t.Errorf("the letter of %s says %q", l.ID, says)
		}
	})
}
