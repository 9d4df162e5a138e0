package subscription

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// Every field that makes no sense is named, all at once; the zero value makes sense.
func TestConfigErr(t *testing.T) {
	bad := Config{
		Lanes: -1, Backoff: Backoff{Base: time.Second, Cap: time.Millisecond}, MaxAttempts: -1, DeadLetter: "dead",
		Limits: channel.Limits{Headers: -1}, Drain: -1,
	}
	err := bad.Err()
	for _, want := range []string{"Lanes is -1", "Backoff is 1s up to 1ms", "MaxAttempts is -1", `DeadLetter is "dead"`, "Limits", "Drain is -1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, and not %q", err, want)
		}
	}
	for name, c := range map[string]struct {
		Config
		want string
	}{
		"zero":         {},
		"long base":    {Config: Config{Backoff: Backoff{Base: time.Hour}}},
		"short cap":    {Config{Backoff: Backoff{Cap: time.Millisecond}}, "Backoff is 0s up to 1ms"},
		"negative":     {Config{Backoff: Backoff{Base: -1}}, "Backoff"},
		"many lanes":   {Config{Lanes: 1<<20 + 1}, "Lanes"},
		"attempts":     {Config{MaxAttempts: 3}, "set both"},
		"dead letter":  {Config{DeadLetter: "dead", Publish: &post{}}, "set both"},
		"no publisher": {Config{DeadLetter: "dead", MaxAttempts: 3}, "nothing to publish"},
		"both":         {Config: letters(&post{})},
	} {
		switch err := c.Err(); {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// The defaults are those that the fields' comments name.
func TestDefaults(t *testing.T) {
	c := (&Config{}).withDefaults()
	if c.Lanes != 256 || c.Backoff != (Backoff{100 * time.Millisecond, 10 * time.Second}) || c.Drain != 10*time.Second || c.Log == nil {
		t.Errorf("the defaults are %+v", c)
	}
	if c := (&Config{Backoff: Backoff{Base: time.Hour}}).withDefaults(); c.Backoff.Cap != time.Hour {
		t.Errorf("the cap of an hour is %v", c.Backoff.Cap)
	}
	synctest.Test(t, func(t *testing.T) { // and they are used
		rs := rec("1", "2", "3")
		claim := claimOf(adapters.Unordered, rs...)
		for range 300 {
			claim.add(rec("more")...)
		}
		r := deliver(t, Config{}, claim)
		ms := r.have()
		if len(ms) != 256 {
			t.Errorf("%d are in flight", len(ms))
		}
		r.stop()
		pass(10*time.Second - 1)
		r.over(t, false)
		pass(1)
		r.over(t, true)
	})
}

// An adapter says how its records look; what it leaves out is made.
func TestMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type own struct{}
		c := Config{Backoff: short, Message: func(r *adapters.Record) *message.Message {
			m := message.NewMessage("own-"+r.ID, r.Payload)
			m.Metadata = nil
			m.SetContext(context.WithValue(context.Background(), own{}, true))
			return m
		}}
		r := deliver(t, c, claimOf(adapters.Ordered, rec("1")...))
		m := r.next(t, "own-1")
		if m.Context().Value(own{}) != nil || len(m.Metadata) != 0 {
			t.Errorf("it has another context, or %v", m.Metadata)
		}
		m.Nack()
		synctest.Wait()
		pass(short.Cap)
		if m := r.next(t, "own-1"); m.Metadata[HeaderAttempt] != "2" {
			t.Errorf("the second attempt has %v", m.Metadata)
		}
	})
}
