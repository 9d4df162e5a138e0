package docs

import (
	"errors"
	"slices"
	"testing"

	"github.com/leat-go/leat/flow"
)

// flows are what the pages draw, by name.
var flows = map[string]func() (*flow.Flow, error){
	"aggregatorFlow":        aggregatorFlow,
	"channelAdapter":        channelAdapter,
	"competingConsumers":    competingConsumers,
	"contentBasedRouter":    contentBasedRouter,
	"deadLetterChannel":     deadLetterChannel,
	"formatIndicator":       formatIndicator,
	"guaranteedDelivery":    guaranteedDelivery,
	"idempotentReceiver":    idempotentReceiver,
	"invalidMessageChannel": invalidMessageChannel,
	"messageChannel":        messageChannel,
	"messageEndpoint":       messageEndpoint,
	"messageExpiration":     messageExpiration,
	"messageFilter":         messageFilter,
	"messageFlow":           messageFlow,
	"messageHistory":        messageHistory,
	"messageIdentity":       messageIdentity,
	"messageSequence":       messageSequence,
	"messageTranslator":     messageTranslator,
	"normalizer":            normalizer,
	"pipesAndFilters":       pipesAndFilters,
	"publishSubscribe":      publishSubscribe,
	"serviceActivator":      serviceActivator,
	"splitter":              splitter,
	"threeWayRouter":        threeWayRouter,
}

// draw gives the picture of one of them.
func draw(name string) (string, error) {
	f, ok := flows[name]
	if !ok {
		return "", errors.New("there is no such flow: add it to the flows of internal/docs")
	}
	g, err := f()
	if err != nil {
		return "", err
	}
	return g.Mermaid(), nil
}

// TestFlowsAreDrawn: a flow that no page draws is left over.
func TestFlowsAreDrawn(t *testing.T) {
	drawn := []string{"threeWayRouter"} // the README's, which is no quote
	for _, p := range pages(t) {
		for _, f := range p.fences() {
			if f.kind == "picture" {
				drawn = append(drawn, f.source)
			}
		}
	}
	for name := range flows {
		if !slices.Contains(drawn, name) {
			t.Errorf("no page draws %s", name)
		}
	}
}
