package kafkatest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// Topic makes a topic with a name of its own on the broker at addr, host:port, and returns when each of its
// partitions can be written and read. It is deleted when the test ends.
func Topic(tb testing.TB, addr string, partitions int) string {
	tb.Helper()
	name := topicName(tb.Name())
	Topics(tb, addr, partitions, name)
	return name
}

// Topics is Topic for names that are given, such as those a flow has. A name that is on the broker already
// fails the test: give names of one test to a broker of its own.
func Topics(tb testing.TB, addr string, partitions int, names ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	var client sarama.Client
	err := until(ctx, nil, func() (err error) {
		client, err = sarama.NewClient([]string{addr}, config())
		return err //nolint:wrapcheck // wrapped below
	})
	if err != nil {
		tb.Fatalf("making the topics %q at %s: %v", names, addr, err)
	}
	defer client.Close() //nolint:errcheck // nothing is lost
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		tb.Fatalf("making the topics %q at %s: %v", names, addr, err)
	}
	for _, name := range names {
		detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1} //nolint:gosec // a few
		if err := admin.CreateTopic(name, detail, false); err != nil {
			tb.Fatalf("making the topic %q at %s: %v", name, addr, err)
		}
	}
	tb.Cleanup(func() { forget(addr, names) })
	for _, name := range names {
		if err := until(ctx, nil, func() error { return usable(client, name, partitions) }); err != nil {
			tb.Fatalf("waiting for the topic %q at %s: %v", name, addr, err)
		}
	}
}

// usable asks the leader of each partition for its end: metadata alone can be ahead of who has to serve.
func usable(client sarama.Client, topic string, partitions int) error {
	if err := client.RefreshMetadata(topic); err != nil {
		return err //nolint:wrapcheck // wrapped by Topics
	}
	for p := range partitions {
		if _, err := client.GetOffset(topic, int32(p), sarama.OffsetNewest); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

// forget deletes topics. A broker that was killed keeps them, and nobody minds.
func forget(addr string, names []string) {
	c := config()
	c.Net.DialTimeout, c.Net.ReadTimeout = time.Second, time.Second
	admin, err := sarama.NewClusterAdmin([]string{addr}, c)
	if err != nil {
		return
	}
	defer admin.Close() //nolint:errcheck // nothing is lost
	for _, name := range names {
		if admin.DeleteTopic(name) != nil {
			return
		}
	}
}

// topicName is a test's name in the letters that topics have, and a number.
func topicName(test string) string {
	const most = 200 // of 249

	letters := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, test)
	return fmt.Sprintf("%s-%08x", letters[:min(len(letters), most)], rand.Uint32())
}
