package flow

import (
	"sync"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/tracing"
)

// RoundTrip has every direct hop write the body and read it again, as it would be over a broker: then a
// body that its codec does not keep, or that somebody changes after it was sent, shows. It is for tests;
// package leattest calls it. Call it before the flow runs.
func (f *Flow) RoundTrip() { f.roundTrip = true }

// Codecs says how the flow writes and reads bodies. Nobody may change it.
func (f *Flow) Codecs() *channel.Codecs { return f.codecs }

// Physical gives the name under which the broker has a topic: with the flow's Prefix.
func (f *Flow) Physical(topic string) string { return f.prefix + topic }

// Observe has the flow traced and measured by c's providers where its own Tracing names none: for package
// leattest. It reports whether both are c's now. Call it before the flow runs.
func (f *Flow) Observe(c tracing.Config) bool {
	t := &f.tracing
	if f.observed { // by a kit before this one
		t.TracerProvider, t.MeterProvider, f.accounts = nil, nil, sync.Once{}
	}
	ours := !t.Off && t.TracerProvider == nil && t.MeterProvider == nil
	f.observed = ours
	if t.TracerProvider == nil {
		t.TracerProvider = c.TracerProvider
	}
	if t.MeterProvider == nil {
		t.MeterProvider = c.MeterProvider
	}
	return ours
}
