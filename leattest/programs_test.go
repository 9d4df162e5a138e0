package leattest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/translator"
)

type row struct{ N int }

// A block is one made of a function.
type block struct {
	process func(m channel.Message[row]) (channel.Result, error)
	shape   channel.Shape
}

func (b block) Process(m channel.Message[row]) (channel.Result, error) { return b.process(m) }
func (b block) Shape() channel.Shape                                   { return b.shape }

func same(r row) (row, error) { return r, nil }

// launch runs a flow on a world until the test ends.
func launch(t *testing.T, w *leattest.World, parts ...flow.Part) (*leattest.Instance, *flow.Handle) {
	t.Helper()
	f := newFlow(t, parts...)
	i := w.Instance(0, false)
	h, err := f.Start(context.WithoutCancel(t.Context()), i, i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Stop()
		i.Kill()
		for name, c := range h.Counts() {
			if !c.Balanced() || c.InFlight != 0 {
				t.Errorf("accounting of step %s does not balance: %v", name, c)
			}
		}
	})
	synctest.Wait()
	return i, h
}

// waitAMinute lets every retry of toDead happen.
func waitAMinute(t *testing.T) {
	t.Helper()
	timer := time.NewTimer(time.Minute)
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test is over")
	}
	synctest.Wait()
}

func ids(ms []*message.Message) (ids []string) {
	for _, m := range ms {
		ids = append(ids, m.UUID)
	}
	return ids
}

// A spy is an interceptor that writes down when it is called.
type spy struct {
	name string
	log  *[]string
}

func (s spy) Shape() channel.Shape { return channel.Shape{Pattern: "Spy " + s.name} }

func (s spy) Enter(e *channel.Envelope) (channel.Result, channel.Exit, error) {
	*s.log = append(*s.log, fmt.Sprintf("enter %s #%d", s.name, e.Attempt()))
	return channel.Result{}, func(r channel.Result, err error) (channel.Result, error) {
		*s.log = append(*s.log, "exit "+s.name)
		return r.Settle(func(_ context.Context, err error) error {
			*s.log = append(*s.log, fmt.Sprintf("settle %s %v", s.name, err))
			return nil
		}), err
	}, nil
}

// Who stands around whom: the engine, the flow's interceptors, the step's, the block; settles run
// innermost first, after the publish.
func TestProgram8Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const in, out channel.Topic[row] = "in", "out"
		w := &leattest.World{}
		var log []string
		tries := 0
		i, h := launch(t, w,
			flow.Around(spy{"flow", &log}), flow.Around(channel.Expiry{To: "expired"}),
			flow.Step("s", in, translator.Map(func(r row) (row, error) {
				log = append(log, "block")
				if tries++; tries == 1 {
					return r, errors.New("once")
				}
				return r, nil
			}, out), flow.Around(spy{"step", &log})), toDead)
		i.Fault = func(what string) error {
			log = append(log, strings.Join(strings.Fields(what)[:2], " "))
			return nil
		}
		w.Put("in", "1", `{}`)
		waitAMinute(t)
		want := []string{
			"enter flow #1", "enter step #1", "block", "exit step", "exit flow", "settle step once", "settle flow once",
			"enter flow #2", "enter step #2", "block", "exit step", "exit flow", "publish out", "settle step <nil>", "settle flow <nil>",
		}
		if !slices.Equal(log, want) {
			t.Errorf("order of calls\n%q\nwant\n%q", log, want)
		}

		w.Put("in", "2", `{"N":2}`, channel.HeaderExpires, time.Now().Add(-time.Second).Format(time.RFC3339Nano))
		waitAMinute(t)
		expired := w.Log("expired")
		if len(expired) != 1 || string(expired[0].Payload) != `{"N":2}` || len(w.Log("dead")) != 0 {
			t.Errorf("%d expired, %d dead; want the one with its bytes as they came, and none", len(expired), len(w.Log("dead")))
		}
		if c := h.Counts()["s"]; c.Expired != 1 || c.Sent != 1 || c.Retries != 1 {
			t.Errorf("%v; want one expired, one sent, one retry", c)
		}
	})
}

// Flows and steps that share a broker, a store or a topic.
func TestProgram9Sharing(t *testing.T) {
	const in, out, other channel.Topic[row] = "in", "out", "other"

	t.Run("two flows on one store do not see each other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &leattest.World{}
			once := idempotency.Receiver{Store: &idempotency.Memory{}}
			for _, name := range []string{"one", "two"} {
				f, err := flow.New(name, flow.Step("s", in, translator.Map(same, out), flow.Around(once)), toDead)
				if err != nil {
					t.Fatal(err)
				}
				i := w.Instance(0, false)
				h, err := f.Start(t.Context(), i, i)
				if err != nil {
					t.Fatal(err)
				}
				defer h.Stop()
			}
			for range 2 {
				w.Put("in", "1", `{}`)
			}
			synctest.Wait()
			got := ids(w.Log("out"))
			if len(got) != 2 || got[0] == got[1] {
				t.Errorf("out %v; want one of each flow, under two ids", got)
			}
		})
	})

	t.Run("two steps on one topic both see every message", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &leattest.World{}
			tries := 0
			_, h := launch(t, w,
				flow.Step("a", in, translator.Map(same, out)),
				flow.Step("b", in, translator.Map(func(r row) (row, error) {
					if r.N%10 == 0 {
						tries++
						return r, errors.New("b fails")
					}
					return r, nil
				}, other)),
				toDead)
			const n = 100
			for k := range n {
				w.Put("in", strconv.Itoa(k), fmt.Sprintf(`{"N":%d}`, k))
			}
			waitAMinute(t)
			a, b := h.Counts()["a"], h.Counts()["b"]
			if a.Received != n || a.Sent != n || a.Retries != 0 || b.Received != n || b.Sent != 90 || b.Dead != 10 || tries != 30 {
				t.Errorf("a: %v; b: %v, %d failed tries; want a untouched by the ten of b that fail", a, b, tries)
			}
			if len(w.Log("out")) != n || len(w.Log("other")) != 90 || len(w.Log("dead")) != 10 || len(w.Left()) != 0 {
				t.Errorf("out %d, other %d, dead %d, left %v", len(w.Log("out")), len(w.Log("other")), len(w.Log("dead")), w.Left())
			}
		})
	})

	t.Run("a step in a group of its own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &leattest.World{}
			_, h := launch(t, w, flow.Step("a", in, translator.Map(same, out)),
				flow.Step("b", in, translator.Map(same, other), flow.Group("audit")), toDead)
			if err := h.Pause("b"); err != nil {
				t.Fatal(err)
			}
			w.Put("in", "1", `{}`)
			synctest.Wait()
			if len(w.Log("out")) != 1 || len(w.Log("other")) != 0 {
				t.Errorf("out %d, other %d while b is paused; want 1 and 0: a does not wait for another group", len(w.Log("out")), len(w.Log("other")))
			}
			if err := h.Resume("b"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if len(w.Log("other")) != 1 {
				t.Errorf("other %d after b was resumed; want 1", len(w.Log("other")))
			}
		})
	})

	t.Run("a direct loop is refused", func(t *testing.T) {
		_, err := flow.New("f", flow.Step("a", in, translator.Map(same, in)), flow.Direct(in), toDead)
		if err == nil || !strings.Contains(err.Error(), "cycle: a > a") {
			t.Errorf("error %v; want one that names the cycle", err)
		}
	})

	t.Run("a loop over the broker ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &leattest.World{}
			n := 0
			once := idempotency.Receiver{Store: &idempotency.Memory{}}
			launch(t, w, flow.Step("loop", in, translator.Map(func(r row) (row, error) { n++; return r, nil }, in), flow.Around(once)),
				flow.MaxHops(10), toDead)
			w.Put("in", "1", `{}`)
			waitAMinute(t)
			dead := w.Log("dead")
			if n != 11 || len(dead) != 1 || !strings.Contains(dead[0].Metadata[flow.DeadError], "goes in circles") {
				t.Errorf("ran %d times, %d dead; want 11 and one that says why", n, len(dead))
			}
		})
	})
}

// fan sends what it gets to two topics.
func fan(a, b channel.Topic[row]) block {
	return block{
		func(m channel.Message[row]) (channel.Result, error) {
			return channel.Send(channel.Forward(a, m), channel.Forward(b, m)), nil
		},
		channel.Shape{Pattern: "Recipient List", Outlets: []channel.Outlet{channel.Out("a", a), channel.Out("b", b)}},
	}
}

// A direct hop in a fan-out: the first branch goes to the broker, the second is direct and fails.
func TestProgram11Direct(t *testing.T) {
	const in, a, b, c, d channel.Topic[row] = "in", "a", "b", "c", "d"

	t.Run("a failing branch fails before anything is published", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &leattest.World{}
			tries := map[int]int{}
			_, h := launch(t, w, flow.Step("fan", in, fan(a, b)),
				flow.Step("b", b, translator.Map(func(r row) (row, error) {
					if tries[r.N]++; r.N == 1 || tries[r.N] < 3 {
						return r, errors.New("b fails")
					}
					return r, nil
				}, c)), flow.Direct(b), toDead)
			w.Put("in", "0", `{"N": 0}`)
			w.Put("in", "1", `{"N": 1}`, "tenant", "acme")
			synctest.Wait()
			if len(w.Log("a")) != 0 {
				t.Errorf("%d published of a tree of which a branch has failed", len(w.Log("a")))
			}
			waitAMinute(t)
			if len(w.Log("a")) != 1 || len(w.Log("c")) != 1 || len(w.Log("dead")) != 1 || tries[0] != 3 || tries[1] != 3 {
				t.Fatalf("a %d, c %d, dead %d, tries %v; want one each after three tries", len(w.Log("a")), len(w.Log("c")), len(w.Log("dead")), tries)
			}
			m := w.Log("a")[0]
			if string(m.Payload) != `{"N": 0}` || m.UUID == "0" || m.Metadata[channel.HeaderOriginal] != "0" {
				t.Errorf("forwarded %s %q %v; want the bytes as they came, an id of its own, the first id in a header", m.UUID, m.Payload, m.Metadata)
			}
			dead := w.Log("dead")[0]
			if dead.UUID != "1" || string(dead.Payload) != `{"N": 1}` || dead.Metadata[flow.DeadStep] != "b" || dead.Metadata["tenant"] != "acme" {
				t.Errorf("dead %s %q %v; want the root as it came, and the name of the step that failed", dead.UUID, dead.Payload, dead.Metadata)
			}
			topic, back, err := flow.PutBack(dead)
			if err != nil || topic != "in" || back.UUID != "1" || back.Metadata[channel.HeaderOnly] != "f/fan" {
				t.Errorf("put back on %s for %q, %v; want in, for f/fan", topic, back.Metadata[channel.HeaderOnly], err)
			}
			fanned, bs := h.Counts()["fan"], h.Counts()["b"]
			if fanned.Received != 2 || fanned.Sent != 1 || fanned.Dead != 1 || bs.Received != 1 || bs.Sent != 1 {
				t.Errorf("fan: %v; b: %v; want the dead one counted once, at the step it arrived at", fanned, bs)
			}
		})
	})

	t.Run("a fan-out that meets again is no duplicate, a redelivery is", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &leattest.World{}
			once := idempotency.Receiver{Store: &idempotency.Memory{}}
			forward := block{
				func(m channel.Message[row]) (channel.Result, error) { return channel.Send(channel.Forward(c, m)), nil },
				channel.Shape{Pattern: "Forward", Outlets: []channel.Outlet{channel.Out("", c)}},
			}
			_, h := launch(t, w, flow.Step("fan", in, fan(a, b)), flow.Step("a", a, forward), flow.Step("b", b, forward),
				flow.Step("meet", c, translator.Map(same, d), flow.Around(once)), flow.Direct(b), toDead)
			for range 2 {
				w.Put("in", "0", `{"N":0}`)
			}
			synctest.Wait()
			if n := len(w.Log("d")); n != 2 || h.Counts()["meet"].Dropped[idempotency.Duplicate] != 2 {
				t.Errorf("%d out, meet: %v; want both branches once, and both again as duplicates", n, h.Counts()["meet"])
			}
		})
	})
}

// Typed headers, keys, tombstones, a prefix.
func TestProgram12Details(t *testing.T) {
	const (
		tenant channel.Header[string] = "tenant"
		weight channel.Header[int]    = "weight"

		in, out channel.Topic[row] = "in", "out"
	)
	b := block{
		func(m channel.Message[row]) (channel.Result, error) {
			if m.Deleted() {
				return channel.Send(channel.Delete(out, m.Key())), nil
			}
			kilos, _, err := weight.Get(m)
			if err != nil {
				return channel.Result{}, err
			}
			return channel.Send(weight.Put(channel.To(out, m.Body), kilos+1).Key("k" + m.Key())), nil
		},
		channel.Shape{Pattern: "Block", Outlets: []channel.Outlet{channel.Out("", out)}, Tombstones: true},
	}
	synctest.Test(t, func(t *testing.T) {
		w := &leattest.World{}
		launch(t, w, flow.Step("s", in, b), flow.Step("plain", out, translator.Map(same, "end")), toDead, flow.Prefix("staging."))
		w.Put("staging.in", "1", `{"N":1}`, channel.HeaderKey, "x", "tenant", "acme", "weight", "41")
		w.PutMessage("staging.in", &message.Message{UUID: "2", Metadata: message.Metadata{channel.HeaderKey: "x"}})
		w.Put("staging.in", "3", `{"N":3}`, "weight", "heavy")
		waitAMinute(t)

		got := w.Log("staging.out")
		if len(got) != 2 {
			t.Fatalf("%d messages out; want a body and a tombstone", len(got))
		}
		m := got[0]
		if tn, _, err := tenant.Get(channel.Metadata(m.Metadata)); string(m.Payload) != `{"N":1}` || tn != "acme" || err != nil ||
			m.Metadata["weight"] != "42" || m.Metadata[channel.HeaderKey] != "kx" || m.Metadata[channel.HeaderConversation] != "1" {
			t.Errorf("sent %q %v; want the tenant inherited, weight 42, key kx", m.Payload, m.Metadata)
		}
		if m := got[1]; m.Payload != nil || m.Metadata[channel.HeaderKey] != "x" {
			t.Errorf("tombstone %q %v; want no payload, key x", m.Payload, m.Metadata)
		}
		// A step that takes no tombstones refuses this one by name; a header that cannot be read is the
		// message's error.
		dead := w.Log("staging.dead")
		if len(dead) != 2 || len(w.Log("dead")) != 0 || len(w.Log("staging.end")) != 1 {
			t.Fatalf("%d dead letters, %d at the end; want 2 and 1", len(dead), len(w.Log("staging.end")))
		}
		slices.SortFunc(dead, func(a, b *message.Message) int {
			return strings.Compare(a.Metadata[flow.DeadStep], b.Metadata[flow.DeadStep])
		})
		if m := dead[0].Metadata; m[flow.DeadStep] != "plain" || !strings.Contains(m[flow.DeadError], "tombstone") ||
			m[flow.DeadTopic] != "staging.out" || dead[0].Payload != nil {
			t.Errorf("dead letter of the tombstone: %q %v", dead[0].Payload, m)
		}
		if m := dead[1].Metadata; m[flow.DeadClass] != "permanent" || !strings.Contains(m[flow.DeadError], "reading header weight") ||
			m[flow.DeadScope] != "f/s" || m["weight"] != "heavy" {
			t.Errorf("dead letter of the header: %v", m)
		}
	})
}
