package subscription

import (
	"maps"
	"slices"
	"sync"
)

// A Gate holds back what is delivered of some topics, or of all. The zero value is open. It is safe for concurrent use.
type Gate struct {
	mu         sync.Mutex
	all        bool
	topics     map[string]bool
	deliveries map[*delivery]struct{}
}

// Pause holds back the topics; none: all there are and will be.
func (g *Gate) Pause(topics ...string) {
	g.change(func() {
		g.all = g.all || len(topics) == 0
		for _, t := range topics {
			if g.topics == nil {
				g.topics = map[string]bool{}
			}
			g.topics[t] = true
		}
	})
}

// Resume lets the topics through that Pause was given; none: all, which alone ends a Pause of all.
func (g *Gate) Resume(topics ...string) {
	g.change(func() {
		if len(topics) == 0 {
			g.all = false
			clear(g.topics)
		}
		maps.DeleteFunc(g.topics, func(t string, _ bool) bool { return slices.Contains(topics, t) })
	})
}

func (g *Gate) change(how func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	how()
	for d := range g.deliveries {
		g.tell(d)
	}
}

func (g *Gate) tell(d *delivery) {
	d.held.Store(g.all || g.topics[d.claim.Topic()])
	d.nudge()
}

func (g *Gate) enter(d *delivery) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deliveries == nil {
		g.deliveries = map[*delivery]struct{}{}
	}
	g.deliveries[d] = struct{}{}
	g.tell(d)
}

func (g *Gate) leave(d *delivery) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.deliveries, d)
}
