package kafka

import (
	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// HeaderID is the record header with the message's id: that of watermill-kafka, so that each reads what the
// other wrote.
const HeaderID = "_watermill_message_uuid"

var headerID = []byte(HeaderID) //nolint:gochecknoglobals // Never changed; of every record.

// A body is a payload as the client wants it.
type body []byte

// Encode gives the bytes.
func (b *body) Encode() ([]byte, error) { return *b, nil }

// Length is their number.
func (b *body) Length() int { return len(*b) }

// A size is how much room messages take in a parcel.
type size struct{ items, headers, texts int }

// add counts a message in.
func (n *size) add(headers, texts int) {
	n.items++
	n.headers += headers + 1 // its id
	n.texts += texts
}

// textsOf is how many bytes of texts an outgoing message has, and whether a header has the name of the id's.
func textsOf(o *adapters.Outgoing) (n int, forged bool) {
	n = len(o.ID) + len(o.Key)
	for i := range o.Headers {
		n += len(o.Headers[i].Name) + len(o.Headers[i].Value)
		forged = forged || o.Headers[i].Name == HeaderID
	}
	return n, forged
}

// newParcel gives a parcel with room.
func newParcel(n size) *parcel {
	p := &parcel{
		left: n.items, headers: make([]sarama.RecordHeader, 0, n.headers), lists: make([]*sarama.RecordHeader, 0, n.headers),
		texts: make([]byte, 0, n.texts),
	}
	if p.items = p.one[:0]; n.items > len(p.one) {
		p.items = make([]pending, 0, n.items)
	}
	return p
}

// put adds the record of an outgoing message. Nothing is copied but texts.
func (p *parcel) put(o *adapters.Outgoing) *pending {
	x := p.next(o.Topic, o.Key, o.Payload)
	p.header(x, headerID, p.bytes(o.ID))
	for i := range o.Headers {
		p.header(x, p.bytes(o.Headers[i].Name), p.bytes(o.Headers[i].Value))
	}
	x.out = o
	return x
}

// putMessage is put for a Watermill message.
func (p *parcel) putMessage(topic, key string, m *message.Message) *pending {
	x := p.next(topic, key, m.Payload)
	p.header(x, headerID, p.bytes(m.UUID))
	for k, v := range m.Metadata {
		if k == channel.HeaderKey && v == key { // it travels as the record's key
			continue
		}
		p.header(x, p.bytes(k), p.bytes(v))
	}
	return x
}

// recordBytes is about what a record takes beside what is in it, and headerBytes a header of it.
const (
	recordBytes = 32
	headerBytes = 4
)

// next begins the next item.
func (p *parcel) next(topic, key string, payload []byte) *pending {
	p.items = p.items[:len(p.items)+1]
	x := &p.items[len(p.items)-1]
	x.of, x.topic, x.rec.Value = p, topic, payload
	if key != "" {
		x.rec.Key = p.bytes(key)
	}
	x.bytes = len(key) + len(payload) + recordBytes
	x.rec.Headers = p.lists[len(p.lists):]
	return x
}

// header adds one to the item that was begun last.
func (p *parcel) header(x *pending, name, value []byte) {
	p.headers = append(p.headers, sarama.RecordHeader{Key: name, Value: value})
	p.lists = append(p.lists, &p.headers[len(p.headers)-1])
	x.rec.Headers = p.lists[len(p.lists)-len(x.rec.Headers)-1:]
	x.bytes += len(name) + len(value) + headerBytes
}

func (p *parcel) bytes(s string) []byte {
	at := len(p.texts)
	p.texts = append(p.texts, s...)
	return p.texts[at:len(p.texts):len(p.texts)]
}
