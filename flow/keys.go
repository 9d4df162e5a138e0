package flow

import (
	"slices"

	"github.com/leat-go/leat/adapters"
)

// A laneKey is what a message that waits holds in its lane, so that nothing of it overtakes the message.
type laneKey struct {
	in  *inlet
	key string
}

// A held is a key that works hold: they wait for a retry, or for a publish that nothing may overtake. Sends
// that overlapped may fail together, so there may be several.
type held struct {
	by     []*work // in the order of their records
	behind []*work // they begin when nobody holds it
	back   bool    // one was given back: what comes after it goes back too, however long it is under way
}

// keyOf gives what a work that waits holds.
func (l *lane) keyOf(w *work) (k laneKey, ok bool) {
	switch {
	case l.order == adapters.Ordered:
		return laneKey{in: w.in}, true
	case l.order == adapters.Unordered || w.rec.Key == "":
		return k, false
	}
	return laneKey{w.in, w.rec.Key}, true
}

// hold has a work hold its key until letGo.
func (l *lane) hold(w *work) {
	if w.holds {
		return
	}
	k, ok := l.keyOf(w)
	if !ok {
		return
	}
	w.holds = true
	h := l.keys[k]
	at := len(h.by)
	for at > 0 && h.by[at-1].seq > w.seq {
		at--
	}
	h.by = slices.Insert(h.by, at, w)
	l.keys[k] = h
}

// overlaps reports whether the next of its key may begin while the work's sends are under way: what one
// goroutine sends keeps its order. Not so where a settle is still to come, which the next may have to see; nor
// behind a dead letter; nor where one message is to be worked on at a time.
func (l *lane) overlaps(w *work) bool {
	return l.order != adapters.Ordered && l.claim != nil && len(w.settles) == 0 && !w.buried
}

// letGo has a work hold its key no more, and goes on with those of the key that are next.
func (l *lane) letGo(w *work, k laneKey, back bool) {
	h := l.keys[k]
	at := slices.Index(h.by, w)
	h.by = slices.Delete(h.by, at, at+1)
	h.back = h.back || back
	l.keys[k] = h
	if len(h.by) == 0 {
		l.unblock(k, h.back)
		return
	}
	l.follow(k)
}

// follow goes on with works of a key whose pause is over, in their order, up to the first that nothing may
// overtake.
func (l *lane) follow(k laneKey) {
	for {
		by := l.keys[k].by
		at := slices.IndexFunc(by, func(w *work) bool { return w.rested || !w.away || !l.overlaps(w) })
		if at < 0 || !by[at].rested {
			return
		}
		by[at].rested = false
		if l.keys[k].back || l.refused[k] {
			l.giveBack(by[at])
		} else {
			l.resume(by[at])
		}
	}
}

// resume goes on with a work whose pause is over.
func (l *lane) resume(w *work) {
	if w.resend {
		l.advance(w, next{what: publish})
	} else {
		l.advance(w, w.try())
	}
}

// giveBack gives back a work that pauses.
func (l *lane) giveBack(w *work) {
	if w.resend {
		w.abandon(w.err)
	}
	l.over1(w, true)
}

// unblock begins with what waited behind a key, until one of them holds it again.
func (l *lane) unblock(k laneKey, back bool) {
	behind := l.keys[k].behind
	delete(l.keys, k)
	for i, w := range behind {
		if back || l.refused[k] { // what came after goes back too, or the key would be inverted
			l.over1(w, true)
			continue
		}
		l.advance(w, w.try())
		if again, held := l.keys[k]; held {
			again.behind = append(again.behind, behind[i+1:]...)
			l.keys[k] = again
			return
		}
	}
}
