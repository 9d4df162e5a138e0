package leattest

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/flow"
)

// Launch runs a flow as a program does, by Engine, or by Router on a Watermill router of its own, until stop
// is called. It ends the test if the flow cannot start; Stepped cannot be launched.
func (d Driver) Launch(t testing.TB, f *flow.Flow, pub message.Publisher, sub message.Subscriber) (h *flow.Handle, stop func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	switch d { //nolint:exhaustive // The other is no program.
	case Engine:
		h, err := f.Start(ctx, pub, sub)
		if err != nil {
			t.Fatalf("starting flow %s: %v", f.Name(), err)
		}
		return h, h.Stop
	case Router:
		r := message.NewDefaultRouter(watermill.NopLogger{})
		h, err := f.AddTo(r, pub, sub)
		if err != nil {
			t.Fatalf("adding flow %s to a router: %v", f.Name(), err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := r.Run(ctx); err != nil {
				t.Errorf("the router of flow %s: %v", f.Name(), err)
			}
		}()
		<-r.Running()
		return h, func() {
			h.Stop()
			if err := r.Close(); err != nil {
				t.Errorf("closing the router of flow %s: %v", f.Name(), err)
			}
			<-ended
		}
	}
	t.Fatalf("the driver %v cannot be launched: use Engine or Router", d)
	return nil, nil
}
