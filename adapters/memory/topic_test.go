package memory

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Names used once cost nothing: a topic that holds nothing is not kept.
func TestTopicIsForgotten(t *testing.T) {
	b := &Broker{}
	sub := b.Subscriber("")
	if _, err := sub.Subscribe(t.Context(), "reply"); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.topics.Load("reply"); !ok {
		t.Fatal("the topic is not there while it is read")
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.topics.Load("reply"); ok {
		t.Fatal("the topic is kept")
	}
}

// A publish that meets a topic as it is forgotten is not lost with it.
func TestTopicForgottenWhilePublishing(t *testing.T) {
	const messages = 1000
	b := &Broker{Order: 1}
	pub := b.Publisher()
	seen := make(map[string]bool, messages)
	var published sync.WaitGroup
	next := make(chan struct{}, 1)
	next <- struct{}{}
	published.Go(func() {
		for i := range messages {
			<-next // so that the topic is empty as the next comes
			if err := pub.Publish("topic", message.NewMessage(strconv.Itoa(i), nil)); err != nil {
				t.Error(err)
			}
		}
	})
	for len(seen) < messages { // each subscriber reads one: the topic comes and goes
		ctx, cancel := context.WithCancel(t.Context())
		ms, err := b.Subscriber("").Subscribe(ctx, "topic")
		if err != nil {
			t.Fatal(err)
		}
		m := <-ms
		if seen[m.UUID] {
			t.Fatalf("%s came again", m.UUID)
		}
		seen[m.UUID] = true
		m.Ack()
		<-m.Context().Done()
		next <- struct{}{}
		cancel()
		for m := range ms { // one more may be offered before the end is noticed
			m.Nack()
		}
	}
	published.Wait()
}
