package tracing

import (
	"context"
	"encoding/hex"
	"reflect"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
)

// The common case by a short way: a trace parent, and neither trace state nor baggage. The propagators of
// OpenTelemetry take several times as long for it, at each hop of each message. What is not the common
// case is theirs.
// Source: W3C Trace Context, section 3.2.

const (
	traceParent = "traceparent"
	traceState  = "tracestate"
	baggageName = "baggage"

	parentLength = 55 // 00-{32 digits}-{16 digits}-{2 digits}
)

// isW3C reports a propagator that is OpenTelemetry's own for trace context, alone or with that for
// baggage. Whatever else looks alike may have its reasons to differ.
func isW3C(p propagation.TextMapPropagator) bool {
	if _, ok := p.(propagation.TraceContext); ok {
		return true
	}
	v, found := reflect.ValueOf(p), false
	if v.Kind() != reflect.Slice || v.Type().PkgPath() != reflect.TypeFor[propagation.TraceContext]().PkgPath() {
		return false
	}
	for i := range v.Len() {
		switch v.Index(i).Interface().(type) {
		case propagation.TraceContext:
			found = true
		case propagation.Baggage:
		default:
			return false
		}
	}
	return found
}

// readW3C gives the context that headers carry, none if they carry none. It gives false for what is not
// the common case.
func readW3C(headers propagation.TextMapCarrier) (sc trace.SpanContext, ok bool) {
	if headers.Get(traceState) != "" || headers.Get(baggageName) != "" {
		return sc, false
	}
	s := headers.Get(traceParent)
	if s == "" {
		return sc, true
	}
	if len(s) != parentLength || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return sc, false
	}
	var c trace.SpanContextConfig
	var flags [1]byte
	if !digits(c.TraceID[:], s[3:35]) || !digits(c.SpanID[:], s[36:52]) || !digits(flags[:], s[53:]) || flags[0] > 1 {
		return sc, false
	}
	c.TraceFlags, c.Remote = trace.TraceFlags(flags[0]), true
	return trace.NewSpanContext(c), true
}

// digits reads lower-case hexadecimal digits.
func digits(to []byte, s string) bool {
	for i := range to {
		a, b := digit(s[2*i]), digit(s[2*i+1])
		if a > 15 || b > 15 {
			return false
		}
		to[i] = a<<4 | b
	}
	return true
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

// writeW3C adds the context of ctx to headers, or gives false for what is not the common case.
func writeW3C(ctx context.Context, headers channel.Fields) (channel.Fields, bool) {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() || sc.TraceState().Len() > 0 || sc.TraceFlags()&^trace.FlagsSampled != 0 || baggage.FromContext(ctx).Len() > 0 {
		return headers, false
	}
	var b [parentLength]byte
	id, span := sc.TraceID(), sc.SpanID()
	copy(b[:], "00-")
	hex.Encode(b[3:], id[:])
	b[35] = '-'
	hex.Encode(b[36:], span[:])
	copy(b[52:], "-00")
	b[54] += byte(sc.TraceFlags())
	return append(headers, channel.Field{Name: traceParent, Value: string(b[:])}), true
}
