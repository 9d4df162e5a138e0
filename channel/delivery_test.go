package channel

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestDelivery(t *testing.T) {
	m := NewMessage("1", item{N: 1})
	for _, c := range []struct {
		name string
		d    Delivery
		typ  reflect.Type
		body any
		key  string
	}{
		{"To", To(Topic[item]("out"), item{N: 2}), reflect.TypeFor[item](), item{N: 2}, ""},
		{"Forward", Forward("out", m), reflect.TypeFor[item](), item{N: 1}, ""},
		{"ForwardRaw", ForwardRaw("out", m.env), reflect.TypeFor[[]byte](), item{N: 1}, ""},
		{"Delete", Delete[item]("out", "k"), reflect.TypeFor[item](), nil, "k"},
		{"To, a key", To(Topic[item]("out"), item{}).Key("k"), reflect.TypeFor[item](), item{}, "k"},
	} {
		if c.d.Topic() != "out" || c.d.Type() != c.typ || c.d.Body() != c.body || c.d.SetKey() != c.key || c.d.Err() != nil || c.d.Get("x") != "" {
			t.Errorf("%s: to %s of %v: %v under %q, %v", c.name, c.d.Topic(), c.d.Type(), c.d.Body(), c.d.SetKey(), c.d.Err())
		}
	}
}

// Methods give a changed copy, whatever is made of one delivery.
func TestDeliveryIsAValue(t *testing.T) {
	members := []Entry{NewEntry("1", "", Fields{{HeaderHops, "7"}}, nil)}
	base := To(Topic[int]("out"), 1).Set("a", "1")
	root := arrived(Arrival{ID: "1", Key: "root", Payload: []byte("1"), Headers: Fields{{"tenant", "a"}}})
	look := func(d Delivery) string {
		e := followed(root, d, 0)
		return fmt.Sprint(e.ID(), e.Key(), e.Hops(), e.BestEffort(), mapOf(t, e.Fields()))
	}
	before := look(base)
	changed := map[string]bool{before: true}
	for _, d := range []Delivery{
		base.Set("a", "2"), base.Set("b", "3"), base.Set("tenant", ""), base.Key("k"), base.ID("x"), base.BestEffort(), base.Bare(), base.Of(members...),
		Header[int]("a").Put(base, 9),
	} {
		if s := look(d); changed[s] {
			t.Errorf("nothing changed, or another was changed: %s", s)
		} else {
			changed[s] = true
		}
	}
	roomy := base.Set("b", "2").Set("c", "3")
	x, y := roomy.Set("d", "x"), roomy.Set("d", "y")
	if x.Get("d") != "x" || y.Get("d") != "y" {
		t.Errorf("two made of one share %q and %q", x.Get("d"), y.Get("d"))
	}
	if after := look(base); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

func TestDeliverySet(t *testing.T) {
	d := To(Topic[int]("out"), 1).Set("a", "1").Set("b", "").Set("a", "2")
	for name, want := range map[string]string{"a": "2 true", "b": " true", "c": " false"} {
		if value, ok := d.Lookup(name); fmt.Sprint(value, " ", ok) != want || d.Get(name) != value {
			t.Errorf("%s is %q, %t; want %s", name, value, ok, want)
		}
	}
	root := arrived(Arrival{ID: "1", Payload: []byte("1"), Headers: Fields{{"b", "x"}, {"c", "y"}}})
	sameMap(t, "an empty value takes a header away", mapOf(t, followed(root, d.Bare(), 0).Fields()), map[string]string{"a": "2", HeaderHops: "1", HeaderContentType: "application/json"})
	if e := followed(root, d, 0); e.Get("b") != "" || e.Get("c") != "y" {
		t.Errorf("b is %q, c is %q", e.Get("b"), e.Get("c"))
	}
}

// Each split pushes its sequence; the outer ones are there, innermost last.
func TestSequenceNests(t *testing.T) {
	split := func(e *Envelope, n int) []*Envelope {
		ds := make([]Delivery, n)
		for i := range ds {
			ds[i] = To(Topic[int]("parts"), i).Set("own", strconv.Itoa(i))
		}
		r := Sequence(Message[int]{env: e}, ds)
		if r.Len() != n || r.Outcome() != Sent {
			t.Fatalf("%d parts, want %d", r.Len(), n)
		}
		parts := make([]*Envelope, n)
		for i := range parts {
			parts[i] = followed(e, *r.At(i), i)
		}
		return parts
	}
	for seed, rnd := range seeds(t, 300) {
		e := arrived(Arrival{ID: "ro/o t%", Payload: []byte("1")})
		var outer []string
		for depth := range 4 {
			n := 1 + rnd.IntN(5)
			parts := split(e, n)
			for i, p := range parts {
				want := map[string]string{
					HeaderSequence: e.ID(), HeaderSequenceIndex: strconv.Itoa(i), HeaderSequenceSize: strconv.Itoa(n),
					HeaderSequenceOuter: strings.Join(outer, " "), "own": strconv.Itoa(i),
				}
				for name, v := range want {
					if p.Get(name) != v || p.Fields().Get(name) != v {
						t.Fatalf("seed %d, depth %d, part %d of %d: %s is %q, want %q", seed, depth, i, n, name, p.Get(name), v)
					}
				}
			}
			members := make([]Entry, n)
			for i, p := range parts {
				members[i] = p.Entry()
			}
			whole := followed(parts[n-1], To(Topic[int]("whole"), 1).Of(members...), 0)
			for _, name := range []string{HeaderSequence, HeaderSequenceIndex, HeaderSequenceSize, HeaderSequenceOuter} {
				if whole.Get(name) != e.Get(name) || whole.Fields().Get(name) != e.Get(name) {
					t.Fatalf("seed %d, depth %d: what the parts were made into has %s %q, what was split had %q", seed, depth, name, whole.Get(name), e.Get(name))
				}
			}
			i := rnd.IntN(n)
			outer = append(outer, fmt.Sprintf("%s/%d/%d", url.PathEscape(e.ID()), i, n))
			if e = parts[i]; rnd.IntN(2) == 0 { // over a broker
				e = arrived(Arrival{ID: e.ID(), Payload: []byte("1"), Headers: e.Fields()})
			}
		}
	}
}
