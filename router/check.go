package router

import (
	"fmt"

	"github.com/leat-go/leat/channel"
)

// topicErr says what is wrong with the topic that the part called what of block sends to.
func topicErr(block error, what, topic string) error {
	switch {
	case topic == "":
		return fmt.Errorf("%w: %s has no topic: name the one it sends to", block, what)
	case channel.IsPattern(topic):
		return fmt.Errorf("%w: %s sends to %q, which stands for many topics: name one", block, what, topic)
	}
	return nil
}
