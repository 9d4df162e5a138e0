package leattest_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
)

type order struct {
	ID    string
	Lines []string
}

type line struct{ OrderID, SKU string }

type pack struct {
	ID   string
	SKUs []string
}

const (
	orders channel.Topic[order] = "orders"
	lines  channel.Topic[line]  = "lines"
	packed channel.Topic[pack]  = "packed"

	manyOrders = 12
	seeds      = 300
)

// packing is the program of the crash runs: orders are split into lines and put together again, with an
// idempotent receiver around both steps.
func packing(remember bool) func(w *leattest.World) leattest.Program {
	return func(w *leattest.World) leattest.Program {
		for i := range manyOrders {
			id, body := fmt.Sprint("o", i), fmt.Sprintf(`{"ID":"%d","Lines":["a","b","c"]}`, i)
			if i%2 == 0 {
				w.Put("orders", id, body)
			} else {
				w.Put("orders", id, body, channel.HeaderKey, fmt.Sprint("k", i%3))
			}
		}
		marks := &idempotency.Memory{}
		var groups aggregator.Store = &aggregator.Memory{}
		if !remember {
			groups = forgetful{groups}
		}
		return func(i *leattest.Instance) (*flow.Flow, error) {
			return flow.New("f",
				flow.Step("split", orders, router.Split(split, lines)),
				flow.Step("pack", lines, &aggregator.Aggregator[line, pack]{
					Correlate: func(l line) string { return l.OrderID },
					Combine:   combine, To: packed, Size: 3, Timeout: 10 * time.Minute,
					Store: i.AggregatorStore(groups),
				}),
				flow.Around(idempotency.Receiver{Store: i.IdempotencyStore(marks)}),
				flow.Policy{Attempts: 3, Backoff: flow.Fixed(time.Second), DeadLetter: "dead"},
				flow.Workers(4), quiet,
			)
		}
	}
}

// quiet: a killed instance has much to log.
var quiet = flow.Logger(slog.New(slog.DiscardHandler))

func split(o order) (ls []line) {
	for _, sku := range o.Lines {
		ls = append(ls, line{o.ID, sku})
	}
	return ls
}

func combine(id string, ls []line) (pack, error) {
	p := pack{ID: id}
	for _, l := range ls {
		p.SKUs = append(p.SKUs, l.SKU)
	}
	return p, nil
}

// forgetful is a store without the memory of released ids.
type forgetful struct{ aggregator.Store }

func (s forgetful) Release(ctx context.Context, r aggregator.ReleaseRequest) error {
	r.Remember = 0
	return s.Store.Release(ctx, r)
}

// A toll is what crashes cost.
type toll struct {
	Lost    int // orders that never came out
	Ghosts  int // packs under another id, of lines that were out already
	Split   int // packs under another id, of other lines
	Wrong   int // packs of not just the order's lines, or one id with two contents
	Dead    int
	Left    int // unfinished on the broker
	Repeats int // of packs, after those of one id are taken for one
	Again   int // packs published again under the same id: what at-least-once means
}

func (v toll) bad() bool {
	v.Again = 0
	return v != toll{}
}

func (v *toll) add(o toll) {
	v.Lost += o.Lost
	v.Ghosts += o.Ghosts
	v.Split += o.Split
	v.Wrong += o.Wrong
	v.Dead += o.Dead
	v.Left += o.Left
	v.Repeats += o.Repeats
	v.Again += o.Again
}

// judge looks at what came out.
func judge(t *testing.T, h *leattest.History) (v toll) {
	t.Helper()
	type parcel struct {
		id, payload string
		pack
	}
	byOrder := map[string][]parcel{}
	for _, m := range h.World.Log("packed") {
		p := parcel{id: m.UUID, payload: string(m.Payload)}
		if err := (channel.JSON{}).Decode(m.Payload, &p.pack); err != nil {
			t.Fatal(err)
		}
		slices.Sort(p.SKUs)
		ps := byOrder[p.ID]
		if i := slices.IndexFunc(ps, func(x parcel) bool { return x.id == p.id }); i >= 0 {
			v.Again++
			if ps[i].payload != p.payload {
				v.Wrong++
			}
			continue
		}
		byOrder[p.ID] = append(ps, p)
	}
	for i := range manyOrders {
		ps := byOrder[strconv.Itoa(i)]
		if len(ps) == 0 {
			v.Lost++
			continue
		}
		v.Repeats += len(ps) - 1
		out := map[string]bool{}
		for n, p := range ps {
			if strings.Join(p.SKUs, "") != "abc" {
				v.Wrong++
			}
			fresh := false
			for _, sku := range p.SKUs {
				fresh = fresh || !out[sku]
				out[sku] = true
			}
			switch {
			case n == 0:
			case fresh:
				v.Split++
			default:
				v.Ghosts++
			}
		}
	}
	v.Dead, v.Left = len(h.World.Log("dead")), len(h.Left)
	return v
}

// crash is one of the crash runs; it reports what all of them cost.
func crash(t *testing.T, driver leattest.Driver) {
	t.Helper()
	var all toll
	runs, kills, stops, from := 0, 0, 0, time.Now()
	storm := time.Minute // in which all is done
	if driver == leattest.Stepped {
		storm *= 2 // one thing happens after the other
	}
	for seed := range leattest.Seeds(t, seeds) {
		h := leattest.Simulation{Seed: seed, Driver: driver, Storm: storm}.Run(t, packing(true))
		v := judge(t, h)
		if v.bad() {
			t.Errorf("%s: %+v, left %v", leattest.Replay(t, seed), v, h.Left)
		}
		if driver == leattest.Stepped {
			again := leattest.Simulation{Seed: seed, Storm: storm}.Run(t, packing(true))
			sameHistory(t, seed, h, again)
		}
		all.add(v)
		kills += h.Kills
		stops += h.Stops
		runs++
	}
	if kills < 3*runs || stops == 0 {
		t.Errorf("%d kills and %d stops in %d runs: the test does not end processes where it says", kills, stops, runs)
	}
	t.Logf("%d seeds, %d kills, %d stops, %d orders in %v: %+v", runs, kills, stops, runs*manyOrders, time.Since(from).Round(time.Millisecond), all)
}

func TestCrashEngine(t *testing.T)     { crash(t, leattest.Engine) }
func TestCrashRouter(t *testing.T)     { crash(t, leattest.Router) }
func TestCrashSimulation(t *testing.T) { crash(t, leattest.Stepped) }

// Without the memory of released ids a redelivery after a crash opens a second group: so the runs above
// can fail.
func TestCrashWithoutMemoryShowsGhosts(t *testing.T) {
	for _, driver := range []leattest.Driver{leattest.Stepped, leattest.Engine, leattest.Router} {
		t.Run(driver.String(), func(t *testing.T) {
			var all toll
			for seed := range leattest.Seeds(t, 40) {
				all.add(judge(t, leattest.Simulation{Seed: seed, Driver: driver}.Run(t, packing(false))))
				if all.Ghosts > 0 {
					break
				}
			}
			if all.Ghosts == 0 {
				t.Errorf("no ghost group without the memory of released ids: %+v", all)
			}
		})
	}
}

func sameHistory(t *testing.T, seed uint64, a, b *leattest.History) {
	t.Helper()
	if a.Hash() == b.Hash() {
		return
	}
	one, other := strings.Split(a.String(), "\n"), strings.Split(b.String(), "\n")
	for i := range min(len(one), len(other)) {
		if one[i] != other[i] {
			t.Errorf("%s: two histories of one seed part at event %d:\n%s\n%s", leattest.Replay(t, seed), i, one[i], other[i])
			return
		}
	}
	t.Errorf("%s: two histories of one seed, of %d and %d events", leattest.Replay(t, seed), len(one), len(other))
}
