package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// seeds gives n seeds; LEAT_SEEDS gives that many instead, and LEAT_SEED that one alone.
func seeds(t *testing.T, n int) iter.Seq2[uint64, *rand.Rand] {
	t.Helper()
	number := func(name string) (uint64, bool) {
		text := os.Getenv(name)
		if text == "" {
			return 0, false
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q: give it a number", name, text)
		}
		return n, true
	}
	first, last := rand.Uint64()>>1, uint64(n)
	if more, ok := number("LEAT_SEEDS"); ok {
		last = more
	}
	if one, ok := number("LEAT_SEED"); ok {
		first, last = one, 1
	}
	return func(yield func(uint64, *rand.Rand) bool) {
		for seed := first; seed < first+last; seed++ {
			if !yield(seed, rand.New(rand.NewPCG(seed, 7))) {
				return
			}
		}
	}
}

// arrived is an envelope of what arrived.
func arrived(a Arrival) *Envelope {
	if a.Context == nil {
		a.Context = context.Background()
	}
	if a.Scope == "" {
		a.Scope = "flow/step"
	}
	e := new(Envelope)
	e.Arrive(&a)
	e.SetAttempt(1)
	return e
}

// followed is the envelope of a delivery.
func followed(cause *Envelope, d Delivery, ordinal int) *Envelope {
	e := new(Envelope)
	e.Follow(cause, &d, ordinal, "flow/next")
	return e
}

func mapOf(t *testing.T, hs Headers) map[string]string {
	t.Helper()
	m := map[string]string{}
	for k, v := range hs.All() {
		if _, ok := m[k]; ok {
			t.Fatalf("header %s is there twice", k)
		}
		m[k] = v
	}
	return m
}

func sameMap(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("%s: headers\n%v, want\n%v", what, got, want)
	}
}

func mustPayload(t *testing.T, m interface{ Payload() ([]byte, error) }) []byte {
	t.Helper()
	p, err := m.Payload()
	if err != nil {
		t.Fatalf("payload: %v", err)
	}
	return p
}

// A tagged codec writes JSON behind a tag, so that bytes show who wrote them.
type tagged string

var errTag = errors.New("another codec wrote this")

func (c tagged) Encode(body any) ([]byte, error) {
	b, err := json.Marshal(body)
	return append([]byte(c), b...), err
}

func (c tagged) Decode(payload []byte, body any) error {
	if len(payload) < len(c) || string(payload[:len(c)]) != string(c) {
		return errTag
	}
	return json.Unmarshal(payload[len(c):], body)
}

func (c tagged) ContentType() string { return "text/" + string(c) }

func (c tagged) String() string { return fmt.Sprintf("codec %q", string(c)) }
