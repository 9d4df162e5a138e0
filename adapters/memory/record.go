package memory

import (
	"iter"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A record is one message in a topic's log. What was published never changes; the rest is guarded by
// the topic's lock. It is its own channel.Headers, which saves an allocation per delivery.
type record struct {
	topic   *topic
	id      string
	key     string
	payload []byte
	fields  channel.Fields
	number  uint64

	open       int // groups that have not finished it
	prev, next *record

	// Most topics have one group: its delivery lies in the record.
	first     delivery
	firstUsed bool
}

// A delivery is one record on its way through one group: queued in its lane, or out with a member.
type delivery struct {
	rec   *record
	lane  *lane
	next  *delivery // in the lane's queue
	owner *member   // nil: it is queued, or finished
	at    int       // index in the owner's list
	again int       // deliveries before the present or next one
}

// newRecord copies what the publisher may still change: the metadata. The key travels beside them.
func newRecord(t *topic, m *message.Message, key string) *record {
	r := &record{topic: t, id: m.UUID, key: key, payload: m.Payload}
	if len(m.Metadata) == 0 || len(m.Metadata) == 1 && key != "" && m.Metadata[channel.HeaderKey] == key {
		return r
	}
	r.fields = make(channel.Fields, 0, len(m.Metadata))
	for k, v := range m.Metadata {
		if k != channel.HeaderKey || v != key {
			r.fields = append(r.fields, channel.Field{Name: k, Value: v})
		}
	}
	return r
}

// delivery gives the record to one more group.
func (r *record) delivery() *delivery {
	d := &r.first
	if r.firstUsed {
		d = &delivery{}
	}
	r.firstUsed = true
	d.rec = r
	return d
}

// Get, All and Fields make the record channel.Headers.
func (r *record) Get(name string) string { return r.fields.Get(name) }

// All yields every header.
func (r *record) All() iter.Seq2[string, string] { return r.fields.All() }

// Fields gives every header as it is kept.
func (r *record) Fields() channel.Fields { return r.fields }

// String is where the record comes from: "topic/number".
func (d *delivery) String() string {
	return d.rec.topic.name + "/" + strconv.FormatUint(d.rec.number, 10)
}

// record gives the delivery as a claim hands it over. The topic's lock is held.
func (d *delivery) record() adapters.Record {
	r := d.rec
	return adapters.Record{ID: r.id, Key: r.key, Payload: r.payload, Headers: r, Native: d, Again: d.again}
}

// fill makes an empty message the delivery as Watermill has it, without a context.
func (d *delivery) fill(m *message.Message) *message.Message {
	r := d.rec
	m.UUID, m.Payload = r.id, r.payload
	for i := range r.fields {
		m.Metadata[r.fields[i].Name] = r.fields[i].Value
	}
	if r.key != "" {
		m.Metadata[channel.HeaderKey] = r.key
	}
	return m
}
