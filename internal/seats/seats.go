// Package seats deals keys to lanes: no key is on two lanes at once, and no lane is idle while another has two keys
// to itself, as it would be if a key's hash chose its lane. The slowest lane bounds what a window lets out, so one
// that has four keys where others have one makes all of them four times as slow.
package seats

import (
	"math/rand/v2"
	"sync"
)

// Lanes are lanes with what is on each. A key keeps its lane while any message of it is under way. It is safe for
// concurrent use.
type Lanes struct {
	mu   sync.Mutex
	keys map[string]*seat
	load []int // messages on each lane
	idle []int // lanes that had none when they were noted, each once
	free []bool
}

type seat struct{ lane, n int }

// New gives n lanes.
func New(n int) *Lanes {
	l := &Lanes{keys: map[string]*seat{}, load: make([]int, n), idle: make([]int, n), free: make([]bool, n)}
	for i := range l.idle {
		l.idle[i], l.free[i] = n-1-i, true
	}
	return l
}

// Take gives the lane for one more message of a key: its own, else an idle one, else the less busy of two.
func (l *Lanes) Take(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.take(key)
}

// TakeEach appends to lanes what Take gives for each key.
func (l *Lanes) TakeEach(lanes []int, keys ...string) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		lanes = append(lanes, l.take(key))
	}
	return lanes
}

func (l *Lanes) take(key string) int {
	s := l.keys[key]
	if s == nil {
		s = &seat{lane: l.quiet()}
		l.keys[key] = s
	}
	s.n++
	l.load[s.lane]++
	return s.lane
}

func (l *Lanes) quiet() int {
	for n := len(l.idle); n > 0; n = len(l.idle) {
		lane := l.idle[n-1]
		l.idle, l.free[lane] = l.idle[:n-1], false
		if l.load[lane] == 0 {
			return lane
		}
	}
	a, b := rand.IntN(len(l.load)), rand.IntN(len(l.load))
	if l.load[b] < l.load[a] {
		return b
	}
	return a
}

// Leave says of each key that one message of it is through.
func (l *Lanes) Leave(keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		s := l.keys[key]
		if s == nil {
			continue
		}
		if s.n--; s.n == 0 {
			delete(l.keys, key)
		}
		l.load[s.lane]--
		if l.load[s.lane] == 0 && !l.free[s.lane] {
			l.idle, l.free[s.lane] = append(l.idle, s.lane), true
		}
	}
}
