package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/leattest"
)

// examples are those whose traces the pages show, by name.
var examples = map[string]func(){
	"Example_aggregator":            Example_aggregator,
	"Example_channelAdapter":        Example_channelAdapter,
	"Example_competingConsumers":    Example_competingConsumers,
	"Example_contentBasedRouter":    Example_contentBasedRouter,
	"Example_deadLetterChannel":     Example_deadLetterChannel,
	"Example_formatIndicator":       Example_formatIndicator,
	"Example_guaranteedDelivery":    Example_guaranteedDelivery,
	"Example_idempotentReceiver":    Example_idempotentReceiver,
	"Example_invalidMessageChannel": Example_invalidMessageChannel,
	"Example_message":               Example_message,
	"Example_messageEndpoint":       Example_messageEndpoint,
	"Example_messageExpiration":     Example_messageExpiration,
	"Example_messageFilter":         Example_messageFilter,
	"Example_messageHistory":        Example_messageHistory,
	"Example_messageIdentity":       Example_messageIdentity,
	"Example_messageSequence":       Example_messageSequence,
	"Example_messageTranslator":     Example_messageTranslator,
	"Example_pipesAndFilters":       Example_pipesAndFilters,
	"Example_publishSubscribe":      Example_publishSubscribe,
	"Example_serviceActivator":      Example_serviceActivator,
	"Example_splitter":              Example_splitter,
}

var (
	spanName  = regexp.MustCompile("`((?:process|send|aggregate|fire|source) [^`]+)`")
	attribute = regexp.MustCompile("`((?:eip|messaging|error)\\.[a-z_.]+)`(?: \"([^\"]+)\"| (true))?")
	eventName = regexp.MustCompile("event[s]? `([a-z ]+)`")
)

// TestPagesSayWhatTracesSay: every span, attribute and event that a page speaks of is in the trace that it
// shows.
func TestPagesSayWhatTracesSay(t *testing.T) {
	for _, p := range patternPages(t) {
		_, sections := p.sections()
		seen := page{text: sections["What you see in Jaeger"]}
		var spans []leattest.Span
		for _, f := range seen.fences() {
			if example := examples[f.source]; f.kind == "trace" && example != nil {
				spans = append(spans, record(example)...)
			}
		}
		if len(spans) == 0 {
			t.Errorf("%s: what you see in Jaeger is no trace of an example", p.name)
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
		text := strings.Join(strings.Fields(seen.prose()), " ")
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
