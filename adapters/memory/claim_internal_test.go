package memory

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

// What a claim is told after its context has ended does not count, though it has not given back yet what it has: the record
// comes again.
func TestFinishAfterTheEnd(t *testing.T) {
	b := &Broker{}
	defer b.Close()
	sub := b.Subscriber("group")
	if err := sub.SubscribeInitialize("topic"); err != nil {
		t.Fatal(err)
	}
	if err := b.Publisher().Publish("topic", message.NewMessage("kept", nil)); err != nil {
		t.Fatal(err)
	}
	next := func(then func(c *claim, rs []*adapters.Record)) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := sub.Claim(ctx, []string{"topic"}, func(c adapters.Claim) {
			rs, err := c.Next(make([]*adapters.Record, 0, 1))
			if err != nil {
				t.Error(err)
			}
			then(c.(*claim), rs)
			cancel()
		})
		if err != nil {
			t.Error(err)
		}
	}
	next(func(c *claim, rs []*adapters.Record) {
		c.cancel(errLetGo) // and release would go on, but is late
		c.Finish(rs)
		c.Return(rs)
	})
	next(func(_ *claim, rs []*adapters.Record) {
		if len(rs) != 1 || rs[0].ID != "kept" || rs[0].Again != 1 {
			t.Errorf("%+v comes", rs)
		}
	})
}
