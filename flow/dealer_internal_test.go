package flow

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/seats"
)

const manyLanes = 64

func idleDealer() *dealer {
	lanes := make([]*lane, manyLanes)
	for i := range lanes {
		lanes[i] = &lane{wake: make(chan struct{}, 1)}
	}
	return newDealer(lanes, seats.New(manyLanes))
}

// woken deals a run of n keys, has the lanes work on it at a pace, and gives how many of them had something to do.
func (d *dealer) woken(n int, pace time.Duration) (lanes int) {
	var run []*adapters.Record
	for i := range n {
		run = append(run, &adapters.Record{Key: strconv.Itoa(i)})
	}
	d.deal(run)
	for _, l := range d.lanes {
		if len(l.inbox) == 0 {
			continue
		}
		lanes++
		for _, r := range l.inbox {
			d.places.Leave(r.Key)
		}
		d.through(len(l.inbox), pace*time.Duration(len(l.inbox)))
		l.inbox = nil
	}
	return lanes
}

// Many messages that are soon done share lanes, and no lane has more than most of them; what takes long, what nobody
// knows yet, and what is not much has lanes to itself.
func TestLanesAreShared(t *testing.T) {
	d := idleDealer()
	if got := d.woken(runLength, time.Microsecond); got != manyLanes {
		t.Errorf("at first there are %d lanes", got)
	}
	for range 50 {
		d.woken(runLength, time.Microsecond)
	}
	if got := d.woken(runLength, time.Microsecond); got != runLength/most {
		t.Errorf("what takes a microsecond has %d lanes", got)
	}
	if got := d.woken(manyLanes, time.Microsecond); got != manyLanes {
		t.Errorf("as many as there are lanes have %d", got)
	}
	d.woken(runLength, time.Millisecond)
	if got := d.woken(runLength, time.Millisecond); got != manyLanes {
		t.Errorf("what takes a millisecond has %d lanes", got)
	}
}

// The reader waits for lanes that have more than a run before them, until they have less, and no longer than a
// millisecond.
func TestHeadStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := idleDealer()
		waits := func() time.Duration {
			began := time.Now()
			d.await()
			return time.Since(began)
		}
		d.backlog.Store(runLength)
		if got := waits(); got != 0 {
			t.Errorf("with a run to do it waits %v", got)
		}
		d.backlog.Store(runLength + 1)
		if got := waits(); got != headStart {
			t.Errorf("with more it waits %v", got)
		}
		go func() {
			time.Sleep(headStart / 2)
			d.through(1, time.Microsecond)
		}()
		if got := waits(); got != headStart/2 {
			t.Errorf("it waits %v, and had to half of that", got)
		}
	})
}
