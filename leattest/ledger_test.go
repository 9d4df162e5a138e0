package leattest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

func TestLedger(t *testing.T) {
	publish := func(l *leattest.Ledger, key string, ids ...string) {
		for _, id := range ids {
			l.Published(id, key)
		}
	}
	effects := func(l *leattest.Ledger, ids ...string) {
		for _, id := range ids {
			l.Effect(id)
		}
	}
	for _, x := range []struct {
		name, want string
		do         func(l *leattest.Ledger)
	}{
		{"nothing", "", func(*leattest.Ledger) {}},
		{"all well", "", func(l *leattest.Ledger) {
			publish(l, "k", "1", "2")
			publish(l, "", "3", "4")
			effects(l, "1", "4", "3", "2")
		}},
		{"an effect before Publish returned", "", func(l *leattest.Ledger) {
			l.Tried("1", "")
			l.Effect("1")
			l.Published("1", "")
		}},
		{"a publish that failed", "", func(l *leattest.Ledger) { l.Tried("1", "") }},
		{"a publish that failed and was one", "", func(l *leattest.Ledger) {
			l.Tried("1", "")
			l.Effect("1")
		}},
		{"lost", "1 lost: 1", func(l *leattest.Ledger) { publish(l, "", "1") }},
		{"duplicate", "1 duplicate: 1", func(l *leattest.Ledger) {
			publish(l, "", "1")
			effects(l, "1", "1")
		}},
		{"inverted", "1 inverted: 1", func(l *leattest.Ledger) {
			publish(l, "k", "1", "2")
			effects(l, "2", "1")
		}},
		{"alien", "1 alien: 9", func(l *leattest.Ledger) { effects(l, "9") }},
		{"poison where it belongs", "", func(l *leattest.Ledger) {
			l.Poison("1")
			publish(l, "", "1")
			l.DeadLetter("1")
			l.DeadLetter("1") // a copy of it is no fault
		}},
		{"poison that is missing", "1 wrongly dead: 1", func(l *leattest.Ledger) {
			l.Poison("1")
			publish(l, "", "1")
		}},
		{"a healthy message in the dead letter", "1 wrongly dead: 1", func(l *leattest.Ledger) {
			publish(l, "", "1")
			l.DeadLetter("1")
		}},
		{"dead and done", "1 duplicate: 1", func(l *leattest.Ledger) {
			l.Poison("1")
			publish(l, "", "1")
			effects(l, "1")
			l.DeadLetter("1")
		}},
		{"left", "1 left: in 1", func(l *leattest.Ledger) { l.Leave("in 1") }},
		{"unaccounted", "2 unaccounted: a: received=2 done=1, b: received=1 in flight=1", func(l *leattest.Ledger) {
			l.Accounts(map[string]flow.Counts{
				"a": {Received: 2, Done: 1}, "b": {Received: 1, InFlight: 1}, "c": {Received: 1, Done: 1},
			})
		}},
		{"many", "7 lost: 1, 2, 3, 4, 5, …", func(l *leattest.Ledger) { publish(l, "", "1", "2", "3", "4", "5", "6", "7") }},
	} {
		t.Run(x.name, func(t *testing.T) {
			var l leattest.Ledger
			x.do(&l)
			v := l.Verdict()
			if v.String() != x.want || v.Zero() != (x.want == "") {
				t.Errorf("%q, zero %v; want %q", v.String(), v.Zero(), x.want)
			}
			r := &recorder{TB: t}
			l.Check(r, 7)
			if failed := len(r.failures) > 0; failed != (x.want != "") {
				t.Errorf("Check: %q", r.failures)
			} else if failed && !strings.Contains(r.failures[0], "LEAT_SEED=7 go test -run '^TestLedger") {
				t.Errorf("Check says %q, not how to run it again", r.failures[0])
			}
		})
	}
}

var errDown = errors.New("broker is down")

func TestLedgerPublisher(t *testing.T) {
	w := &leattest.World{}
	i := w.Instance(0, false)
	i.Fault = func(what string) error {
		if what == "publish in 2" {
			return errDown
		}
		return nil
	}
	var l leattest.Ledger
	pub := l.Publisher(i)
	m := func(id string) *message.Message {
		m := message.NewMessage(id, nil)
		m.Metadata[channel.HeaderKey] = "k"
		return m
	}
	if err := pub.Publish("in", m("1"), m("2"), m("3")); !errors.Is(err, errDown) {
		t.Errorf("error %v; want %v", err, errDown)
	}
	if v := l.Verdict(); v.String() != "1 lost: 1" {
		t.Errorf("%v; want 1 lost: it alone was published", v)
	}
	for _, id := range []string{"2", "1"} { // 2 may have been published
		l.Effect(id)
	}
	if v := l.Verdict(); v.String() != "1 inverted: 1" {
		t.Errorf("%v; want 1 inverted: they have a key", v)
	}
}
