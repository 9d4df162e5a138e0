package tracing_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// traced gives a router of plain Watermill whose handlers, and what they publish, are traced.
func traced(c tracing.Config, pub message.Publisher) (*message.Router, message.Publisher) {
	r := message.NewDefaultRouter(watermill.NopLogger{})
	r.AddMiddleware(c.Middleware)
	return r, c.Publisher(pub)
}

func ExampleConfig_Middleware() {
	var traces leattest.Traces // tracing.Config{} is the program's SDK
	channels := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
	r, pub := traced(traces.Config(), channels)
	r.AddHandler("copy", "in", channels, "out", pub, func(m *message.Message) ([]*message.Message, error) {
		return []*message.Message{m}, nil
	})
	done := make(chan struct{})
	r.AddConsumerHandler("end", "out", channels, func(*message.Message) error {
		close(done)
		return nil
	})
	go r.Run(context.Background())
	<-r.Running()
	if err := channels.Publish("in", message.NewMessage("1", nil)); err != nil {
		fmt.Println(err)
	}
	<-done
	fmt.Println(r.Close(), channels.Close())

	spans := traces.Spans()
	slices.SortFunc(spans, func(a, b leattest.Span) int { return a.StartTime.Compare(b.StartTime) })
	for _, s := range spans {
		fmt.Println(s.Name, s.SpanContext.TraceID() == spans[0].SpanContext.TraceID())
	}
	// Output:
	// <nil> <nil>
	// process in true
	// send out true
	// process out true
}
