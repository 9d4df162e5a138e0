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
	many int   // so many keys make it worth looking for those that left
	load []int // messages on each lane
	idle []int // lanes that had none when they were noted, each once
	free []bool
}

// A seat is where a key is, or was, if it has no message: most keys come back, and find theirs made.
type seat struct{ lane, n int }

// fewKeys is how many seats are kept whoever sits on them.
const fewKeys = 1024

// New gives n lanes.
func New(n int) *Lanes {
	l := &Lanes{keys: map[string]*seat{}, many: fewKeys, load: make([]int, n), idle: make([]int, n), free: make([]bool, n)}
	for i := range l.idle {
		l.idle[i], l.free[i] = n-1-i, true
	}
	return l
}

// Take gives the lane for one more message of a key: its own, else an idle one, else the less busy of two.
func (l *Lanes) Take(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seat(key)
	if s.n == 0 {
		s.lane = l.quiet()
	}
	return l.sit(s)
}

// TakeEach appends to lanes what Take gives for each key, but that keys without a lane share one until it has got so
// many messages together.
func (l *Lanes) TakeEach(lanes []int, together int, keys ...string) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane, n := 0, together
	for _, key := range keys {
		s := l.seat(key)
		if s.n == 0 {
			if n >= together {
				lane, n = l.quiet(), 0
			}
			s.lane = lane
		}
		if s.lane == lane {
			n++
		}
		lanes = append(lanes, l.sit(s))
	}
	return lanes
}

func (l *Lanes) seat(key string) *seat {
	s := l.keys[key]
	if s != nil {
		return s
	}
	if len(l.keys) >= l.many {
		l.clear()
	}
	s = &seat{}
	l.keys[key] = s
	return s
}

func (l *Lanes) sit(s *seat) int {
	s.n++
	l.load[s.lane]++
	return s.lane
}

// clear forgets the keys that have no message.
func (l *Lanes) clear() {
	for key, s := range l.keys {
		if s.n == 0 {
			delete(l.keys, key)
		}
	}
	l.many = max(2*len(l.keys), fewKeys)
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
		if s == nil || s.n == 0 {
			continue
		}
		s.n--
		l.load[s.lane]--
		if l.load[s.lane] == 0 && !l.free[s.lane] {
			l.idle, l.free[s.lane] = append(l.idle, s.lane), true
		}
	}
}
