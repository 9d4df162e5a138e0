package leattest

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

// A ruled is a block that works by rules which every instance reads for itself.
type ruled struct {
	rules   channel.Topic[string]
	initial int // rules that are there when an instance starts

	mu    sync.Mutex
	known map[string]bool
	early int // messages that came before the initial rules
	seen  []string
}

func (b *ruled) Process(m channel.Message[string]) (channel.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.known) < b.initial {
		b.early++
	}
	b.seen = append(b.seen, m.Body)
	return channel.Done(), nil
}

func (b *ruled) Shape() channel.Shape {
	every := channel.In("rules", b.rules, func(m channel.Message[string]) (channel.Result, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.known[m.Body] = true
		return channel.Done(), nil
	})
	every.Broadcast = true
	return channel.Shape{Pattern: "rules in every instance", Inlets: []channel.Inlet{every}}
}

func (b *ruled) read() (known, seen, early int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.known), len(b.seen), b.early
}

// testFlowFollows runs two instances of a flow with an inlet for every instance. Each has all of it, what
// was there before it takes anything else; of the rest they see each message once.
func (x *adapterTest) testFlowFollows(d Driver) {
	const first, later, data = 30, 10, 40
	rules, in, dead, name := x.topic(2), x.topic(3), x.topic(1), x.name("flow")
	pub := x.publisher()
	x.publish(pub, rules, bodies(notes(first, "rule", keyNames(5)...))...)
	x.publish(pub, in, bodies(notes(data, "before", keyNames(8)...))...)
	var blocks []*ruled
	var handles []*flow.Handle
	var stops []func()
	for range 2 {
		b := &ruled{rules: channel.Topic[string](rules), initial: first, known: map[string]bool{}}
		f, err := flow.New(name, flow.Step("do", channel.Topic[string](in), b), flow.Logger(slog.New(slog.DiscardHandler)),
			flow.Policy{Attempts: 3, Backoff: flow.Fixed(5 * time.Millisecond), DeadLetter: channel.Topic[[]byte](dead)})
		if err != nil {
			x.Fatal(err)
		}
		h, stop := d.Launch(x.T, f, pub, x.subscriber(AdapterReader{Group: name}))
		stop = sync.OnceFunc(stop)
		x.Cleanup(stop)
		blocks, handles, stops = append(blocks, b), append(handles, h), append(stops, stop)
	}
	seen := func() (n int) {
		for _, b := range blocks {
			_, of, _ := b.read()
			n += of
		}
		return n
	}
	x.await("through with what was there", func() bool { return seen() >= data })
	x.publish(pub, rules, bodies(notes(later, "later", keyNames(5)...))...)
	x.publish(pub, in, bodies(notes(data, "after", keyNames(8)...))...)
	x.await("through with everything", func() bool { return seen() >= 2*data })
	for i, b := range blocks {
		x.await(fmt.Sprintf("instance %d knows every rule", i), func() bool { known, _, _ := b.read(); return known == first+later })
	}
	for _, stop := range stops {
		x.within("stopped a flow", stop)
	}
	ids := map[string]bool{}
	for i, b := range blocks {
		if _, _, early := b.read(); early > 0 {
			x.Errorf("instance %d took %d messages before it had read the rules", i, early)
		}
		for _, id := range b.seen {
			ids[id] = true
		}
		if c := handles[i].Counts()["do"]; !c.Balanced() || c.InFlight != 0 || c.Done < first+later {
			x.Errorf("instance %d accounts for %v", i, c)
		}
	}
	if len(ids) != 2*data {
		x.Errorf("%d messages were seen; want %d", len(ids), 2*data)
	}
	x.letters(dead, 0)
}
