package leattest

import (
	"slices"
	"sort"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// A World is a broker for tests, and all that there is outside of the processes that are tested. It
// keeps every message of every topic for good; a group that is new begins with the first. Nothing is
// bounded, nothing waits. Processes reach it through an Instance, which can die.
//
// Messages of one key follow each other within a group; those without a key are handed out together.
// What is given back comes again at its place.
//
// The zero value is ready. It is safe for concurrent use and must not be copied. It may be used in a
// bubble of testing/synctest or out of one, but not in two.
type World struct {
	mu     sync.Mutex
	logs   map[string][]*message.Message
	groups map[groupName]*group
	order  []*group // as they came
	made   int      // instances
	alone  int      // subscriptions without a group
	wake   chan struct{}
	trace  func(who, what string) // nil: nobody writes the history
}

type groupName struct{ topic, name string }

// A letter is one message on its way through one group.
type letter struct {
	m  *message.Message
	at int // in the topic's log
}

// A group is what the members of one consumer group share of one topic.
type group struct {
	groupName
	waiting []*letter // in the order of the log
	out     map[*letter]struct{}
	keys    map[string]struct{} // of those that are out
}

// Put publishes a message, as somebody who cannot fail. Headers are given as name, value, name, value;
// channel.HeaderKey sets the key.
func (w *World) Put(topic, id, body string, headers ...string) {
	m := message.NewMessage(id, []byte(body))
	for i := 0; i+1 < len(headers); i += 2 {
		m.Metadata[headers[i]] = headers[i+1]
	}
	w.PutMessage(topic, m)
}

// PutMessage publishes a copy of a message. A nil payload is a tombstone.
func (w *World) PutMessage(topic string, m *message.Message) {
	m = m.Copy()
	w.mu.Lock()
	defer w.unlock()
	if w.logs == nil {
		w.logs = map[string][]*message.Message{}
	}
	at := len(w.logs[topic])
	w.logs[topic] = append(w.logs[topic], m)
	for _, g := range w.order {
		if g.topic == topic {
			g.waiting = append(g.waiting, &letter{m, at})
		}
	}
}

// Log gives every message that was published on a topic. They are the World's own: do not change them.
func (w *World) Log(topic string) []*message.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.logs[topic])
}

// Left lists what groups have not finished, "topic id" each, in the order of the groups.
func (w *World) Left() (left []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.order {
		all := slices.Clone(g.waiting)
		for l := range g.out {
			all = append(all, l)
		}
		slices.SortFunc(all, func(a, b *letter) int { return a.at - b.at })
		for _, l := range all {
			left = append(left, g.topic+" "+l.m.UUID)
		}
	}
	return left
}

// unlock unlocks and wakes whoever waits for messages.
func (w *World) unlock() {
	wake := w.wake
	w.wake = nil
	w.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// join gives the group of that name on a topic; "" is a new one every time.
func (w *World) join(topic, name string) *group {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name == "" {
		w.alone++
	} else if g := w.groups[groupName{topic, name}]; g != nil {
		return g
	}
	g := &group{groupName: groupName{topic, name}, out: map[*letter]struct{}{}, keys: map[string]struct{}{}}
	for at, m := range w.logs[topic] {
		g.waiting = append(g.waiting, &letter{m, at})
	}
	w.order = append(w.order, g)
	if name != "" {
		if w.groups == nil {
			w.groups = map[groupName]*group{}
		}
		w.groups[g.groupName] = g
	}
	return g
}

// dissolve ends a group without a name.
func (w *World) dissolve(g *group) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.order = slices.DeleteFunc(w.order, func(x *group) bool { return x == g })
}

// take hands out the message that choose says of those that may be, the first if choose is nil. If there
// is none it gives what is closed when that may have changed.
func (w *World) take(g *group, choose func(n int) int) (*letter, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := g.choose(choose); at >= 0 {
		l := g.waiting[at]
		g.waiting = slices.Delete(g.waiting, at, at+1)
		g.out[l] = struct{}{}
		if key := keyOf(l.m); key != "" {
			g.keys[key] = struct{}{}
		}
		return l, nil
	}
	if w.wake == nil {
		w.wake = make(chan struct{})
	}
	return nil, w.wake
}

// choose gives the place of a message that may be handed out: of each key the first, if none of it is
// out. -1: there is none.
func (g *group) choose(choose func(n int) int) int {
	var ready []int
	held := map[string]bool{}
	for i, l := range g.waiting {
		key := keyOf(l.m)
		if key != "" {
			if _, out := g.keys[key]; out || held[key] {
				continue
			}
			held[key] = true
		}
		if choose == nil {
			return i
		}
		ready = append(ready, i)
	}
	if len(ready) == 0 {
		return -1
	}
	return ready[choose(len(ready))]
}

// finish ends a message that is out; given back, it waits again at its place.
func (w *World) finish(g *group, l *letter, back bool) {
	w.mu.Lock()
	defer w.unlock()
	if _, out := g.out[l]; !out {
		return
	}
	delete(g.out, l)
	delete(g.keys, keyOf(l.m))
	if back {
		at := sort.Search(len(g.waiting), func(i int) bool { return g.waiting[i].at > l.at })
		g.waiting = slices.Insert(g.waiting, at, l)
	}
}

func keyOf(m *message.Message) string { return m.Metadata[channel.HeaderKey] }
