package aggregator

import (
	"time"

	"github.com/leat-go/leat/channel"
)

// A released is the memory of what was released, in two generations: ids go into the young one; when
// it is full, or older than they are to be remembered, it becomes the old one and the old one is
// emptied. To delete ids one by one costs more than to add them.
type released struct {
	young, old idSet
	since      int64 // when young was begun
	forgotten  int   // ids that had to go before their time
}

func (m *released) has(id channel.ID) bool { return m.young.has(id) || m.old.has(id) }

func (m *released) size() int { return m.young.n + m.old.n }

// room makes room for n ids that are to be remembered for at least d, if limit allows.
func (m *released) room(n int, now int64, d time.Duration, limit int) {
	switch {
	case m.young.n == 0:
		m.since = now
	case now-m.since >= int64(d):
		m.swap(now)
	case m.young.n+n > limit/2:
		m.forgotten += m.old.n
		m.swap(now)
	}
}

func (m *released) swap(now int64) {
	m.young, m.old = m.old, m.young
	m.young.clear()
	m.since = now
}
