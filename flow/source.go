package flow

import (
	"context"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// said is the block of a source: what it says is the result.
type said struct{}

func (said) Process(m channel.Message[*channel.Result]) (channel.Result, error) { return *m.Body, nil }

func (said) Shape() channel.Shape { return channel.Shape{} }

// isSource reports an inlet that stands for what a source says.
func (in *inlet) isSource() bool { return in.step.source != nil && in.topic == "" && in.clock == nil }

// open gives a source its way into the flow.
func (h *Handle) open(s *step) {
	in := &inlet{step: s, stage: channel.Erase(said{}), place: s.said}
	s.source.Open(func(ctx context.Context, r channel.Result) error {
		if err := h.enter(ctx, in); err != nil {
			return fmt.Errorf("source %s: %w", s.name, err)
		}
		defer h.leave()
		a := channel.Arrival{Context: ctx, Scope: s.scope, Codecs: h.flow.codecs, Body: &r, HasBody: true}
		if err := h.tel.newWork(in, &a).drive(h.pub, h.hurried); err != nil {
			return fmt.Errorf("source %s: %w", s.name, err)
		}
		return nil
	})
}
