package kafka

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A delivery is one record while a claim has it. It is its own channel.Headers: names and values become
// strings when somebody asks for them.
type delivery struct {
	rec   adapters.Record // as the claim hands it over
	claim *claim
	msg   *sarama.ConsumerMessage
	seq   uint64 // its place among what the claim gave out
	size  int    // bytes that count against the window
	plain bool   // no header has a reserved name
}

var _ channel.Headers = (*delivery)(nil)

// Get gives the header's value, "" if there is none.
func (d *delivery) Get(name string) string {
	if d.plain && reserved(name) {
		return ""
	}
	hs := d.headers()
	for i := len(hs) - 1; i >= 0; i-- {
		if string(hs[i].Key) == name && name != HeaderID {
			return string(hs[i].Value)
		}
	}
	return ""
}

// All yields every header but the id.
func (d *delivery) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, h := range d.headers() {
			if string(h.Key) == HeaderID {
				continue
			}
			if !yield(string(h.Key), string(h.Value)) {
				return
			}
		}
	}
}

// Fields gives every header but the id, names and values of all in one string.
func (d *delivery) Fields() channel.Fields {
	n, size := 0, 0
	for _, h := range d.headers() {
		if string(h.Key) != HeaderID {
			n++
			size += len(h.Key) + len(h.Value)
		}
	}
	if n == 0 {
		return nil
	}
	var b strings.Builder
	b.Grow(size)
	fs := make(channel.Fields, 0, n)
	for _, h := range d.headers() {
		if string(h.Key) == HeaderID {
			continue
		}
		at := b.Len()
		b.Write(h.Key)
		b.Write(h.Value)
		field := b.String()[at:]
		fs = append(fs, channel.Field{Name: field[:len(h.Key)], Value: field[len(h.Key):]})
	}
	return fs
}

// headers are those that anybody may see: of a record beyond the limits, none.
func (d *delivery) headers() []*sarama.RecordHeader {
	if d.rec.Err != nil {
		return nil
	}
	return d.msg.Headers
}

// String is where the record is: "topic/partition/offset".
func (d *delivery) String() string {
	return place(d.msg.Topic, d.msg.Partition, d.msg.Offset)
}

// Location is documented at adapters.Located.
func (d *delivery) Location() (partition string, offset int64) {
	return strconv.Itoa(int(d.msg.Partition)), d.msg.Offset
}

func place(topic string, partition int32, offset int64) string {
	return topic + "/" + strconv.Itoa(int(partition)) + "/" + strconv.FormatInt(offset, 10)
}

// Value is what the context of a delivered message has of the record.
func (d *delivery) Value(key any) any {
	switch key.(type) {
	case partitionKey:
		return d.msg.Partition
	case offsetKey:
		return d.msg.Offset
	case timestampKey:
		return d.msg.Timestamp
	case recordKey:
		return d.rec.Key
	}
	return nil
}

// decode makes the record: it reads id and key, and finds out whether it is a message at all.
func (d *delivery) decode(l *channel.Limits) {
	r, m := &d.rec, d.msg
	r.Payload, r.Headers, r.Native = m.Value, d, d
	if r.Err != nil {
		r.ID = d.String()
		return
	}
	var id []byte
	ids, bytes := 0, 0
	for _, h := range m.Headers {
		if string(h.Key) == HeaderID {
			ids++
			id = h.Value
			continue
		}
		bytes += len(h.Key) + len(h.Value)
	}
	r.Err = d.check(l, ids, bytes)
	if r.Err != nil {
		if len(m.Key) <= l.Header {
			r.Key = string(m.Key)
		}
		r.ID = d.String()
		return
	}
	if len(m.Headers) == ids { // nobody need look for others
		r.Headers = channel.Fields(nil)
	}
	if len(id) == 0 {
		r.ID, r.Key = d.String(), string(m.Key)
		return
	}
	var b strings.Builder // one allocation for both
	b.Grow(len(id) + len(m.Key))
	b.Write(id)
	b.Write(m.Key)
	r.ID, r.Key = b.String()[:len(id)], b.String()[len(id):]
}

// check allocates next to nothing, whatever the record is.
func (d *delivery) check(l *channel.Limits, ids, bytes int) error {
	m := d.msg
	switch {
	case ids > 1:
		return fmt.Errorf("record %s: %w: %s", d, ErrForged, HeaderID)
	case len(m.Value) > l.Body:
		return fmt.Errorf("record %s: %w: payload has %d bytes, SubscriberConfig.Limits.Body is %d", d, channel.ErrTooLarge, len(m.Value), l.Body)
	case len(m.Headers)-ids > l.Headers:
		return fmt.Errorf("record %s: %w: it has %d headers, SubscriberConfig.Limits.Headers is %d", d, channel.ErrTooLarge, len(m.Headers), l.Headers)
	case len(m.Key) > l.Header:
		return fmt.Errorf("record %s: %w: key has %d bytes, SubscriberConfig.Limits.Header is %d", d, channel.ErrTooLarge, len(m.Key), l.Header)
	case bytes > l.HeaderBytes:
		return fmt.Errorf("record %s: %w: headers have %d bytes, SubscriberConfig.Limits.HeaderBytes is %d", d, channel.ErrTooLarge, bytes, l.HeaderBytes)
	}
	own := 0
	for _, h := range m.Headers {
		if n := len(h.Key) + len(h.Value); n > l.Header {
			return fmt.Errorf("record %s: %w: a header has %d bytes, SubscriberConfig.Limits.Header is %d", d, channel.ErrTooLarge, n, l.Header)
		}
		if reserved(h.Key) {
			own++
		}
	}
	d.plain = own == 0
	if own < 2 { //nolint:mnd // One cannot be there twice.
		return nil
	}
	return d.twice()
}

// twice finds a reserved header that is there twice.
func (d *delivery) twice() error {
	hs := d.msg.Headers
	for i, h := range hs {
		if !reserved(h.Key) {
			continue
		}
		for _, other := range hs[:i] {
			if string(other.Key) == string(h.Key) {
				return fmt.Errorf("record %s: %w: %.64q", d, ErrForged, h.Key)
			}
		}
	}
	return nil
}

const reservedPrefix = "leat-"

func reserved[T []byte | string](name T) bool {
	return len(name) > len(reservedPrefix) && string(name[:len(reservedPrefix)]) == reservedPrefix
}
