package leattest

import (
	"context"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

func startEngine(x *process) (end func(), err error) {
	h, err := x.flow.Start(x.Context(), x, x)
	if err != nil {
		return nil, err
	}
	return h.Stop, nil
}

func startRouter(x *process) (end func(), err error) {
	r := message.NewDefaultRouter(watermill.NopLogger{})
	if _, err := x.flow.AddTo(r, x, x); err != nil {
		return nil, err
	}
	// Not the instance's context: what ends with it does so by its handles.
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx) // what fails in it fails in the simulation
	}()
	<-r.Running()
	return func() {
		cancel()
		_ = r.Close() // whose handlers may have ended with the instance
		<-done
	}, nil
}
