package docs

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/leat-go/leat/leattest"
)

// traced are the examples whose traces the pages describe.
var traced = map[string]func(){
	"aggregator.md":              Example_aggregator,
	"channel-adapter.md":         Example_channelAdapter,
	"competing-consumers.md":     Example_competingConsumers,
	"content-based-router.md":    Example_contentBasedRouter,
	"dead-letter-channel.md":     Example_deadLetterChannel,
	"format-indicator.md":        Example_formatIndicator,
	"guaranteed-delivery.md":     Example_guaranteedDelivery,
	"idempotent-receiver.md":     Example_idempotentReceiver,
	"invalid-message-channel.md": Example_invalidMessageChannel,
	"message-channel.md":         Example_serviceActivator,
	"message-endpoint.md":        Example_messageEndpoint,
	"message-expiration.md":      Example_messageExpiration,
	"message-filter.md":          Example_messageFilter,
	"message-identity.md":        Example_messageIdentity,
	"message-sequence.md":        Example_messageSequence,
	"message-translator.md":      Example_messageTranslator,
	"message.md":                 Example_message,
	"pipes-and-filters.md":       Example_pipesAndFilters,
	"publish-subscribe.md":       Example_publishSubscribe,
	"service-activator.md":       Example_serviceActivator,
	"splitter.md":                Example_splitter,
}

var (
	spanName  = regexp.MustCompile("`((?:process|send|aggregate|fire|source) [^`]+)`")
	attribute = regexp.MustCompile("`((?:eip|messaging|error)\\.[a-z_.]+)`(?: \"([^\"]+)\"| (true))?")
	eventName = regexp.MustCompile("event[s]? `([a-z ]+)`")
)

// TestPagesSayWhatTracesSay: every span, attribute and event that a page speaks of is in the trace of its
// example.
func TestPagesSayWhatTracesSay(t *testing.T) {
	for _, p := range patternPages(t) {
		example := traced[path.Base(p.name)]
		if example == nil {
			t.Errorf("%s: no example is traced for it", p.name)
			continue
		}
		spans := record(t, example)
		if len(spans) == 0 {
			t.Errorf("%s: its example makes no spans", p.name)
			continue
		}
		var names, events []string
		values := map[string][]string{}
		for _, s := range spans {
			names = append(names, s.Name)
			for _, kv := range s.Attributes {
				values[string(kv.Key)] = append(values[string(kv.Key)], kv.Value.String())
			}
			for _, e := range s.Events {
				events = append(events, e.Name)
				for _, kv := range e.Attributes {
					values[string(kv.Key)] = append(values[string(kv.Key)], kv.Value.String())
				}
			}
		}
		_, sections := p.sections()
		text := strings.Join(strings.Fields(sections["What you see in Jaeger"]), " ")
		for _, m := range spanName.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(names, m[1]) {
				t.Errorf("%s: its example makes no span %s, but %q", p.name, m[1], slices.Compact(slices.Sorted(slices.Values(names))))
			}
		}
		for _, m := range attribute.FindAllStringSubmatch(text, -1) {
			switch want := m[2] + m[3]; {
			case values[m[1]] == nil:
				t.Errorf("%s: no span of its example has %s", p.name, m[1])
			case want != "" && !slices.Contains(values[m[1]], want):
				t.Errorf("%s: %s is never %q in the spans of its example, but %q", p.name, m[1], want, values[m[1]])
			}
		}
		for _, m := range eventName.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(events, m[1]) {
				t.Errorf("%s: no span of its example has an event %s, but %q", p.name, m[1], events)
			}
		}
	}
}

// record runs an example and gives its spans.
func record(t *testing.T, example func()) (spans []leattest.Span) {
	t.Helper()
	var x leattest.Traces // for the one that is not run by the kit
	otel.SetTracerProvider(x.Config().TracerProvider)
	traces = func(more []leattest.Span) { spans = append(spans, more...) }
	stdout := os.Stdout
	defer func() {
		otel.SetTracerProvider(noop.NewTracerProvider())
		traces, os.Stdout = nil, stdout
	}()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	os.Stdout = null
	example()
	return append(spans, x.Spans()...)
}
