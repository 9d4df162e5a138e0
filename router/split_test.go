package router_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/blocktest"
	"github.com/leat-go/leat/router"
)

const lines channel.Topic[line] = "lines"

func linesOf(o order) []line { return o.Lines }

func TestSplitProcess(t *testing.T) {
	errTorn := errors.New("torn")
	three := order{Lines: []line{{SKU: "a"}, {SKU: "b"}, {SKU: "c"}}}
	keyed := router.Split(linesOf, lines)
	keyed.EachKey = func(l line) string { return "sku-" + l.SKU }
	for _, c := range []struct {
		name  string
		block router.Splitter[order, line]
		keys  []string
	}{
		{"the message's key", router.Split(linesOf, lines), []string{"k", "k", "k"}},
		{"a key each", keyed, []string{"sku-a", "sku-b", "sku-c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := blocktest.Twice(t, c.block, channel.Arrival{
				Scope: "f/s", ID: "1", Key: "k", Body: three, HasBody: true,
				Headers: channel.Fields{{Name: "tenant", Value: "a"}},
			})
			if len(got) != 3 {
				t.Fatalf("%d parts, want 3", len(got))
			}
			ids := map[string]bool{}
			for i, e := range got {
				ids[e.ID] = true
				want := fmt.Sprintf(`{"sku":"%s"}`, three.Lines[i].SKU)
				if e.Topic != "lines" || e.Payload != want || e.Key != c.keys[i] {
					t.Errorf("part %d is %q under key %q on %s; want %q under %q", i, e.Payload, e.Key, e.Topic, want, c.keys[i])
				}
				for name, want := range map[string]string{
					"tenant": "a", channel.HeaderSequence: "1",
					channel.HeaderSequenceIndex: strconv.Itoa(i), channel.HeaderSequenceSize: "3", channel.HeaderSequenceOuter: "",
				} {
					if v := e.Headers.Get(name); v != want {
						t.Errorf("part %d: header %s = %q, want %q", i, name, v, want)
					}
				}
			}
			if len(ids) != 3 {
				t.Errorf("parts share ids: %v", ids)
			}
		})
	}
	t.Run("an error is the message's", func(t *testing.T) {
		block := router.SplitMessage(func(channel.Message[order]) ([]line, error) { return three.Lines, errTorn }, lines)
		r, err := block.Process(channel.NewMessage("1", three))
		if !errors.Is(err, errTorn) || r.Len() != 0 || channel.IsPermanent(err) {
			t.Errorf("%d parts, error %v", r.Len(), err)
		}
	})
	t.Run("by header", func(t *testing.T) {
		block := router.SplitMessage(func(m channel.Message[order]) ([]line, error) {
			return []line{{SKU: m.Get("tenant")}}, nil
		}, lines)
		r, err := block.Process(channel.NewMessage("1", three, "tenant", "a"))
		if err != nil || r.Len() != 1 || r.At(0).Body().(line).SKU != "a" || r.At(0).Get(channel.HeaderSequenceSize) != "1" {
			t.Errorf("%d parts, error %v", r.Len(), err)
		}
	})
}

func TestSplitNothing(t *testing.T) {
	block := router.Split(linesOf, lines)
	r, err := block.Process(channel.NewMessage("1", order{}))
	if !errors.Is(err, router.ErrNothingToSplit) || !channel.IsPermanent(err) || r.Outcome() != channel.Unsaid {
		t.Errorf("%v, error %v; want ErrNothingToSplit, permanent", r.Outcome(), err)
	}
	block.AllowEmpty = true
	r, err = block.Process(channel.NewMessage("1", order{}))
	if err != nil || r.Outcome() != channel.Dropped || r.Reason() != "nothing to split" {
		t.Errorf("%v %q, error %v", r.Outcome(), r.Reason(), err)
	}
}

func TestSplitShape(t *testing.T) {
	s := router.Split(linesOf, lines).Shape()
	blocktest.CheckShape(t, s)
	if got := blocktest.Outlets(s); !slices.Equal(got, []string{"part>lines"}) || s.Pattern != "Splitter" || s.Effect != channel.Pure {
		t.Errorf("%q, outlets %q, effect %v", s.Pattern, got, s.Effect)
	}
	for _, block := range []router.Splitter[order, line]{router.Split[order, line](nil, ""), router.SplitMessage[order, line](nil, "")} {
		blocktest.CheckShape(t, block.Shape(),
			`router.Split: Parts is nil: give it the function that takes a message apart`,
			`router.Split: To has no topic: name the one it sends to`)
	}
	blocktest.CheckShape(t, router.Split(linesOf, "lines.*").Shape(),
		`router.Split: To sends to "lines.*", which stands for many topics: name one`)
}

// The parts, in the order of their index, are the whole; split again, each names both sequences.
func TestSplitProperty(t *testing.T) {
	outer := router.Split(linesOf, lines)
	inner := router.Split(func(l line) []int { return l.Parts }, channel.Topic[int]("parts"))
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		o := order{Lines: make([]line, 1+rnd.IntN(12))}
		for i := range o.Lines {
			o.Lines[i] = line{SKU: strconv.Itoa(i), Parts: rnd.Perm(1 + rnd.IntN(12))}
		}
		var back []line
		for i, e := range blocktest.Twice(t, outer, channel.Arrival{Scope: "f/outer", ID: "o", Body: o, HasBody: true}) {
			var l line
			if err := json.Unmarshal([]byte(e.Payload), &l); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			l.Parts = nil
			parts := blocktest.Twice(t, inner, channel.Arrival{Scope: "f/inner", ID: e.ID, Payload: []byte(e.Payload), Headers: e.Headers})
			for j, p := range parts {
				h := p.Headers
				wantOuter := fmt.Sprintf("o/%d/%d", i, len(o.Lines))
				if h.Get(channel.HeaderSequence) != e.ID || h.Get(channel.HeaderSequenceIndex) != strconv.Itoa(j) ||
					h.Get(channel.HeaderSequenceSize) != strconv.Itoa(len(parts)) || h.Get(channel.HeaderSequenceOuter) != wantOuter {
					t.Fatalf("seed %d: part %d of line %d has headers %v", seed, j, i, h)
				}
				n, err := strconv.Atoi(p.Payload)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				l.Parts = append(l.Parts, n)
			}
			back = append(back, l)
		}
		if !slices.EqualFunc(back, o.Lines, func(a, b line) bool { return a.SKU == b.SKU && slices.Equal(a.Parts, b.Parts) }) {
			t.Fatalf("seed %d: %v came back as %v", seed, o.Lines, back)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		o := order{Lines: make([]line, n)}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			benchmark(b, router.Split(linesOf, lines), channel.NewMessage("1", o))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/part")
		})
	}
}
