package endpoint_test

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
)

// A handler that was written for a Watermill router, as it is.
func ExampleWrap() {
	handler := func(msg *message.Message) error {
		fmt.Printf("%s %s %s\n", msg.UUID, msg.Payload, msg.Metadata.Get("tenant"))
		return nil
	}

	r, err := endpoint.Wrap(handler).Process(channel.NewMessage("1", []byte("hello"), "tenant", "a"))
	fmt.Println(r.Outcome(), err)
	// Output:
	// 1 hello a
	// done <nil>
}

// What the handler produces goes to the topic. The random UUID is not kept: the engine derives an id
// that is the same at every attempt.
func ExampleWrapHandler() {
	const Shouted channel.Topic[[]byte] = "shouted"
	handler := func(msg *message.Message) ([]*message.Message, error) {
		return message.Messages{message.NewMessage(watermill.NewUUID(), append(msg.Payload, '!'))}, nil
	}

	r, err := endpoint.WrapHandler(handler, Shouted).Process(channel.NewMessage("1", []byte("hello")))
	fmt.Printf("%s %s %v\n", r.At(0).Topic(), r.At(0).Body(), err)
	// Output:
	// shouted hello! <nil>
}
