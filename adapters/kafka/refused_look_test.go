package kafka

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// A tap is a source that can be shut.
type tap struct{ shut int }

func (*tap) Messages() <-chan *sarama.ConsumerMessage { return nil }
func (*tap) HighWaterMarkOffset() int64               { return 0 }
func (t *tap) pause()                                 { t.shut++ }
func (t *tap) resume()                                { t.shut-- }

// A broker that is gone while somebody looks for what cannot be read leaves the partition as it was: it is read on,
// and looked into again when it is refused again. Breaks if it stays paused.
func TestLookingFails(t *testing.T) {
	conf := SubscriberConfig{Cluster: Cluster{Brokers: []string{"127.0.0.1:1"}, DialTimeout: 100 * time.Millisecond}, Group: "g"}.withDefaults()
	m := &member{conf: &conf, ctx: t.Context(), log: slog.New(slog.DiscardHandler), health: newHealth(slog.New(slog.DiscardHandler), &conf.Cluster)}
	defer m.health.end()
	src := &tap{}
	c := newClaim(t.Context(), &conf, nil, src, "topic", 0, 7)
	c.suspect = true
	m.investigate(c)
	if src.shut != 0 || c.held || c.suspect {
		t.Errorf("the partition is shut %d times, held %t, suspect %t", src.shut, c.held, c.suspect)
	}
	c.paused = true // for want of room
	src.shut = 1
	m.investigate(c)
	if src.shut < 1 || c.held {
		t.Errorf("the partition is shut %d times, held %t: there is no room for what it would bring", src.shut, c.held)
	}
}

// What is read before a batch that cannot be read is what the client would have given: not what was aborted, unless that is
// asked for, no markers, and nothing before the offset asked for.
func TestReadBeforeWhatCannotBe(t *testing.T) {
	batch := func(first int64, producer int64, of sarama.RecordBatch) *sarama.Records {
		of.FirstOffset, of.ProducerID, of.IsTransactional = first, producer, producer > 0
		of.LastOffsetDelta = 1
		for i := range int64(2) {
			of.Records = append(of.Records, &sarama.Record{OffsetDelta: i})
		}
		return &sarama.Records{RecordBatch: &of}
	}
	block := &sarama.FetchResponseBlock{
		AbortedTransactions: []*sarama.AbortedTransaction{{ProducerID: 1, FirstOffset: 6}, {ProducerID: 2, FirstOffset: 90}},
		RecordsSet: []*sarama.Records{
			batch(4, 0, sarama.RecordBatch{}), batch(6, 1, sarama.RecordBatch{}), batch(8, 1, sarama.RecordBatch{Control: true}),
			batch(10, 2, sarama.RecordBatch{}),
			{},
			batch(20, 0, sarama.RecordBatch{}),
		},
	}
	for _, uncommitted := range []bool{false, true} {
		conf := SubscriberConfig{ReadUncommitted: uncommitted}.withDefaults()
		c := newClaim(t.Context(), &conf, nobody{}, nil, "topic", 0, 5)
		b := c.read(block, 5)
		var got []int64
		for _, m := range b.messages {
			got = append(got, m.Offset)
		}
		want := "[5 10 11 20 21]"
		if uncommitted {
			want = "[5 6 7 10 11 20 21]"
		}
		if fmt.Sprint(got) != want || b.end != 22 {
			t.Errorf("uncommitted %t: offsets %v are read, up to %d; want %s, up to 22", uncommitted, got, b.end, want)
		}
	}
}
