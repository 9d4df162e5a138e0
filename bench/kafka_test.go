package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// put publishes bodies of the given numbers to a topic, each under the key that it has in a row.
func put(t *testing.T, k *cluster, topic string, numbers ...int) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(k.address), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names := keyNames()
	for _, i := range numbers {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Key: []byte(names[i%keyCount]), Value: body(i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// Who loses, repeats or inverts messages of a pipeline is found out.
func TestHolds(t *testing.T) {
	k := fakeCluster(t)
	if err := k.need(); err != nil {
		t.Fatal(err)
	}
	const n = 3
	for name, c := range map[string]struct {
		one, other []int
		want       error
	}{
		"all":             {[]int{2, 0}, []int{1}, nil},
		"one came again":  {[]int{2, 0}, []int{1, 2}, errAgain},
		"one is not ours": {[]int{2, 0}, []int{1, 3}, errStrange},
	} {
		t.Run(name, func(t *testing.T) {
			one, other := emptyTopic(t, k), emptyTopic(t, k)
			put(t, k, one, c.one...)
			put(t, k, other, c.other...)
			if err := k.holds(soon(t), n, one, other); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("a key is inverted", func(t *testing.T) {
		topic := emptyTopic(t, k)
		put(t, k, topic, keyCount+1, 1)
		if err := k.holds(soon(t), 2*keyCount, topic); !errors.Is(err, errDisorder) {
			t.Fatalf("got %v, want %v", err, errDisorder)
		}
	})
	t.Run("one is missing", func(t *testing.T) {
		topic := emptyTopic(t, k)
		put(t, k, topic, 0, 2)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errLost)
		if err := k.holds(ctx, n, topic); !errors.Is(err, errLost) {
			t.Fatalf("got %v, want %v", err, errLost)
		}
	})
}

func emptyTopic(t *testing.T, k *cluster) string {
	t.Helper()
	topic, err := k.topic(t.Context(), "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// Rows read what was filled: every message once, one topic for all who want the same.
func TestFill(t *testing.T) {
	k := fakeCluster(t)
	if err := k.need(); err != nil {
		t.Fatal(err)
	}
	const n = 2500
	topic, err := k.with(t.Context(), n, partitions)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.holds(soon(t), n, topic); err != nil {
		t.Error(err)
	}
	again, err := k.with(t.Context(), n, partitions)
	if err != nil || again != topic {
		t.Errorf("asked again: topic %s, error %v; want %s", again, err, topic)
	}
	other, err := k.with(t.Context(), n, 1)
	if err != nil || other == topic {
		t.Errorf("with one partition: topic %s, error %v; want another than %s", other, err, topic)
	}
}

// Without a broker the rows say what they need, and how it can be had.
func TestRowsSayWhatTheyNeed(t *testing.T) {
	k := &cluster{start: func() (string, func(), error) { return "", nil, errLost }}
	for _, r := range kafkaRows(k, &identities{n: 1}) {
		if err := r.Needs(); !errors.Is(err, errLost) {
			t.Errorf("%s: got %v, want %v", r.Name, err, errLost)
		}
	}
	if err := k.close(); err != nil {
		t.Error(err)
	}
	t.Setenv(kafkaVariable, "127.0.0.1:1")
	if err := kafkaHere(t.Context()).need(); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want an error with the address", err)
	}
}
