package faults_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// F36: messages go in circles: over one step, over a direct hop, over two flows, through groups. Those
// that would go on for ever are in the dead letter, for the reason loop; those that find their way out
// in time have their effect. Headers that lie about hops help nobody.
func TestF36(t *testing.T) {
	seeds(t, func(w *world) { f36(w, []int{4, 5, 8, 13, 64}[w.rnd.IntN(5)], -1) })
}

func TestF36CanFail(t *testing.T) {
	t.Run("no limit", func(t *testing.T) {
		canFail(t, notDead, func(w *world) { f36(w, 1_000_000, 200) })
	})
}

const (
	short  channel.Topic[item] = "short"  // back to itself
	inner  channel.Topic[item] = "inner"  // back over a direct hop
	middle channel.Topic[item] = "middle" // the direct hop
	across channel.Topic[item] = "across" // back over another flow
	other  channel.Topic[item] = "other"  // that flow's
	out    channel.Topic[item] = "out"
)

// A spinner counts a message's turns down and sends it on, to Next, or out. A message with less than no
// turns goes on for ever.
type spinner struct{ Next channel.Topic[item] }

func (s spinner) Process(m channel.Message[item]) (channel.Result, error) {
	x := m.Body
	if x.Turns == 0 {
		return channel.Send(channel.To(out, x)), nil
	}
	if x.Turns < 0 && x.Fault == "" {
		return channel.Send(channel.Forward(s.Next, m)), nil
	}
	x.Turns--
	d := channel.To(s.Next, x)
	switch x.Fault {
	case "bare":
		d = d.Bare()
	case "liar":
		d = d.Set(channel.HeaderHops, "0")
	}
	return channel.Send(d), nil
}

func (s spinner) Shape() channel.Shape {
	return channel.Shape{Pattern: "Spinner", Outlets: []channel.Outlet{channel.Out("on", s.Next), channel.Out("out", out)}}
}

// A passer sends a message on as it is.
type passer struct{ Next channel.Topic[item] }

func (s passer) Process(m channel.Message[item]) (channel.Result, error) {
	return channel.Send(channel.Forward(s.Next, m)), nil
}

func (s passer) Shape() channel.Shape {
	return channel.Shape{Pattern: "Passer", Outlets: []channel.Outlet{channel.Out("on", s.Next)}}
}

// An unpacker sends the members of a group back to where they came from.
type unpacker struct{}

func (unpacker) Process(m channel.Message[pack]) (channel.Result, error) {
	var r channel.Result
	for _, id := range m.Body.Members {
		r = r.And(channel.To(lines, item{ID: id, Group: m.Body.Group}))
	}
	return r.As(channel.Sent), nil
}

func (unpacker) Shape() channel.Shape {
	return channel.Shape{Pattern: "Unpacker", Outlets: []channel.Outlet{channel.Out("member", lines)}}
}

func f36(w *world, most, forever int) {
	w.ledger.ordered = false // who takes more turns is overtaken
	w.names = loopNames
	w.dead = func(m *message.Message) {
		if meta := m.Metadata; meta.Get(flow.DeadClass) != "permanent" || !strings.Contains(meta.Get(flow.DeadError), "circles") {
			w.ledger.wrong(wronglyDead, "%s died of %s (%s), not of a loop", m.Payload, meta.Get(flow.DeadError), meta.Get(flow.DeadClass))
		}
	}
	seen, groups := &idempotency.Memory{}, &aggregator.Memory{}
	for range 1 + w.rnd.IntN(2) {
		rest := []flow.Part{flow.MaxHops(most), flow.Workers(1 + w.rnd.IntN(4)), flow.Policy{DeadLetter: dead}}
		p := w.process(w.rarely(100))
		steps := []flow.Part{
			flow.Step("short", short, spinner{short}),
			flow.Step("inner", inner, spinner{middle}),
			flow.Step("middle", middle, passer{inner}),
			flow.Step("across", across, spinner{other}),
			flow.Step("out", out, endpoint.DoMessage(w.act), flow.Around(idempotency.Receiver{Store: seen})),
			flow.Direct(middle),
		}
		if forever < 0 { // groups have no way out
			steps = append(steps, flow.Step("pack", lines, &aggregator.Aggregator[item, pack]{
				Correlate: func(x item) string { return x.Group }, Combine: combine, To: packed, Size: 2,
				Store: groupStore{real: groups, p: p},
			}), flow.Step("unpack", packed, unpacker{}))
		}
		p.run("one", append(steps, rest...)...)
		w.process(w.rarely(100)).run("two", append(rest, flow.Step("back", other, passer{across}))...)
	}
	w.spin(most, forever)
	pass(time.Hour)
}

// loopNames gives the items that a dead letter is of: of a group its members.
func loopNames(m *message.Message) []string {
	var x item
	var p pack
	if err := errors.Join(json.Unmarshal(m.Payload, &x), json.Unmarshal(m.Payload, &p)); err != nil {
		return []string{string(m.Payload)}
	}
	if x.ID != "" {
		return []string{x.ID}
	}
	return p.Members
}

// spin publishes messages that take few turns, just few enough, one too many, and no end of them.
func (w *world) spin(most, forever int) {
	n := 0
	for _, topic := range []channel.Topic[item]{short, inner, across} {
		hops, limit := 2, min(most, 100)
		if topic == short {
			hops = 1 // of one turn
		}
		enough := (limit - 1) / hops
		for _, turns := range []int{0, 1, enough, enough + 1, forever} {
			n++
			x := item{ID: fmt.Sprint(topic, turns, "-", n), Turns: turns}
			start := ""
			switch w.dice.roll(5, "lie", fmt.Sprint(topic, n)) {
			case 0:
				x.Fault = "bare"
			case 1:
				x.Fault = "liar"
			case 2:
				start = "-3"
			case 3:
				start = "a lot"
			}
			if turns < 0 || turns*hops+1 > most || forever > 0 && turns == forever {
				w.ledger.dies(x.ID)
			}
			w.putHops(string(topic), x, start)
		}
	}
	x := item{ID: "came a long way"}
	w.ledger.dies(x.ID)
	w.putHops(string(short), x, strconv.Itoa(most))
	if forever > 0 {
		return
	}
	for g := range 2 {
		for i := range 2 {
			x := item{ID: fmt.Sprint("g", g, "-", i), Group: fmt.Sprint("g", g)}
			w.ledger.dies(x.ID)
			w.putHops(string(lines), x, "")
		}
	}
}

func (w *world) putHops(topic string, x item, hops string) {
	m := message.NewMessage(x.ID, encode(x))
	if hops != "" {
		m.Metadata.Set(channel.HeaderHops, hops)
	}
	if err := w.broker.Publisher().Publish(topic, m); err != nil {
		w.t.Fatalf("publishing %s: %v", x.ID, err)
	}
	w.ledger.published(x.ID, "")
}
