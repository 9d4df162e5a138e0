// Package tracing makes one picture of a message's way: through routers, splitters, aggregators, retries
// and dead letters, over any broker, with the boxes and arrows of the flow's drawing.
//
// Where did order 17 go, and why is it late? A flow answers by itself, through the global OpenTelemetry
// providers, as soon as the program has set some; until then it costs nothing. A part says otherwise:
//
//	flow.New("orders", …, flow.Tracing(tracing.Config{TracerProvider: spans, AttemptSpans: true}))
//
//	process orders          CONSUMER  step by-region
//	└─ send orders.eu       PRODUCER  its context travels in the message's headers
//	   └─ process orders.eu CONSUMER  step ship, in whatever process it runs
//
// A plain Watermill router has the same with [Config.Middleware] and [Config.Publisher].
//
// What is whose child: the processing of a message is a child of its send, so one trace crosses all hops.
// The parts of a split are children of one parent. An aggregate is one span, linked to every member, in
// their trace if they have one in common, else in a trace of its own. A retry is an event. A dead letter
// is sent within the span of the message that failed; when it is put back, a new trace begins, linked to it.
//
// Names of spans, attributes, instruments and log keys are the constants below; docs/tracing.md explains
// them. Labels of metrics come from the flow's declaration, never from messages. No payload, no header
// value and no key of a message is in any of them; the text of an error is, so errors must not quote
// payloads.
//
// [Tracer], [Meter] and what else says "for drivers" is for package flow. It imports the OpenTelemetry API
// and no SDK.
package tracing
