package kafka

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
)

// Keys go where other clients put them: those of watermill-kafka, or, with Murmur2, Java's. The hashes are those that the tests
// of Java's client and the authors of FNV give. Breaks if one hash stands for the other, or if what is below 0 is counted
// otherwise than there: two services that write to one topic then have one key on two partitions, and its order is gone.
func TestKeysGoWhereOthersPutThem(t *testing.T) {
	const partitions = 7
	for name, x := range map[string]struct {
		murmur2 bool
		hashes  map[string]int32
		of      func(hash int32) int32
	}{
		"FNV-1a": {false, map[string]int32{
			"a": -468965076, "b": -418632219, "c": -435409838, "d": -519297933, "e": -536075552, "f": -485742695,
			"fo": 1646454850, "foo": -1443660073, "foob": 1062237935, "fooba": 967483786, "foobar": -1080231576,
		}, func(hash int32) int32 { return max(hash%partitions, -(hash % partitions)) }},
		"Murmur2": {true, map[string]int32{
			"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
			"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
		}, func(hash int32) int32 { return (hash & 0x7fffffff) % partitions }},
	} {
		t.Run(name, func(t *testing.T) {
			fake, p, topic := writing(t, partitions, func(c *PublisherConfig) { c.Murmur2 = x.murmur2 })
			var ms []*message.Message
			for key := range x.hashes {
				ms = append(ms, keyed(key))
			}
			if err := p.Publish(topic, ms...); err != nil {
				t.Fatal(err)
			}
			for _, r := range fetched(t, fake, topic, len(ms)) {
				if want := x.of(x.hashes[string(r.Key)]); r.Partition != want {
					t.Errorf("key %q is on partition %d, want %d", r.Key, r.Partition, want)
				}
			}
		})
	}
}

// The key is what PublisherConfig.Key says, though it says none; without it, that of the header, else that of the message which
// is worked on. Breaks if one of these is not asked, or another one first: messages of a key then lose their order at the
// first step that they pass.
func TestWhereAKeyComesFrom(t *testing.T) {
	fake, p, in := writing(t, 1, nil)
	if err := p.Publish(in, keyed("theirs")); err != nil {
		t.Fatal(err)
	}
	consumed := arrives(t, subscribed(t, SubscriberConfig{Cluster: p.conf.Cluster}, in))
	defer consumed.Ack()
	out := kafkatest.Topic(t, kafkatest.Addr(fake), 1)
	choosing, err := NewPublisher(PublisherConfig{
		Cluster: p.conf.Cluster, Key: func(topic string, m *message.Message) string { return m.Metadata["key for "+topic] },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = choosing.Close() }()
	want := map[string]string{}
	for _, x := range []struct {
		id     string
		by     *Publisher
		header string
		chosen string
		ctx    context.Context
		want   string
	}{
		{"nobody gives one", p, "", "", t.Context(), ""},
		{"its header", p, "its own", "", t.Context(), "its own"},
		{"the message worked on", p, "", "", consumed.Context(), "theirs"},
		{"its header before the message worked on", p, "its own", "", consumed.Context(), "its own"},
		{"the config before both", choosing, "its own", "chosen", consumed.Context(), "chosen"},
		{"the config says none", choosing, "its own", "", consumed.Context(), ""},
	} {
		m := message.NewMessageWithContext(x.ctx, x.id, nil)
		for name, value := range map[string]string{channel.HeaderKey: x.header, "key for " + out: x.chosen} {
			if value != "" {
				m.Metadata[name] = value
			}
		}
		if err := x.by.Publish(out, m); err != nil {
			t.Fatal(err)
		}
		want[x.id] = x.want
	}
	for _, r := range fetched(t, fake, out, len(want)) {
		id := string(r.Headers[0].Value)
		if string(r.Key) != want[id] || (r.Key == nil) != (want[id] == "") { // an empty one would have all of them on one partition
			t.Errorf("%s: the key is %q, want %q", id, r.Key, want[id])
		}
	}
}
