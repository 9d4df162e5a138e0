package faults_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// F20: a batch fails part way: of some messages it is known that they were published, of some that they
// were not, and of some the answer is lost. Only the rest goes out again, and what caused it is not done
// again.
func TestF20(t *testing.T) { seeds(t, func(w *world) { f20(w, nil, true) }) }

func TestF20CanFail(t *testing.T) {
	t.Run("no result for each message", func(t *testing.T) {
		canFail(t, resent, func(w *world) { f20(w, func(p *publisher) { p.coarse = true }, true) })
	})
	t.Run("an error taken for success", func(t *testing.T) {
		canFail(t, lost, func(w *world) { f20(w, func(p *publisher) { p.lies = true }, true) })
	})
	t.Run("no receiver", func(t *testing.T) { // of what was published and not known to be
		canFail(t, duplicate, func(w *world) { f20(w, nil, false) })
	})
}

const parts channel.Topic[item] = "parts"

// A burst is a block with an effect and many deliveries.
type burst struct{ w *world }

func (b burst) Process(m channel.Message[item]) (channel.Result, error) {
	if err := b.w.act(m); err != nil {
		return channel.Result{}, err
	}
	var r channel.Result
	for i := range m.Body.Turns {
		x := item{ID: m.Body.ID + "." + strconv.Itoa(i)}
		r = r.And(channel.To(parts, x).Key(fmt.Sprint(m.Key(), i%3)))
	}
	return r.As(channel.Sent), nil
}

func (b burst) Shape() channel.Shape {
	return channel.Shape{Pattern: "Burst", Effect: channel.Acts, Outlets: []channel.Outlet{channel.Out("parts", parts)}}
}

func f20(w *world, spoil func(p *publisher), receiver bool) {
	if spoil != nil {
		w.driver = claims // it publishes in batches
	}
	seen := &idempotency.Memory{}
	for range 1 + w.rnd.IntN(2) {
		often := 4 + w.rnd.IntN(8)
		p := w.process(func(call, id string) fault {
			switch w.dice.roll(often, call, id) {
			case 0:
				return before
			case 1:
				return after
			}
			return none
		})
		p.pub.strict, p.pub.late = true, w.rnd.IntN(2) == 0
		if spoil != nil {
			spoil(p.pub)
		}
		around := flow.Around(idempotency.Receiver{Store: seen})
		if !receiver {
			around = flow.Around()
		}
		p.run("shop",
			flow.Step("burst", incoming, burst{w}),
			flow.Step("take", parts, endpoint.DoMessage(w.act), around),
			flow.Workers(1+w.rnd.IntN(8)),
			flow.Policy{Attempts: 5, Backoff: flow.Exponential(20*time.Millisecond, time.Second), DeadLetter: dead},
		)
	}
	for i := range 12 {
		x, key := item{ID: fmt.Sprint("m", i), Turns: 1 + w.rnd.IntN(20)}, w.key(4)
		w.ledger.published(x.ID, key)
		w.put1(string(incoming), x.ID, key, encode(x))
		for j := range x.Turns {
			w.ledger.published(x.ID+"."+strconv.Itoa(j), "")
		}
	}
	pass(10 * time.Minute)
}
