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

// fill makes p's record of an outgoing message. Nothing is copied but names and values of headers, into
// memory that p keeps for the next message.
func (p *pending) fill(o *adapters.Outgoing) {
	size := len(o.ID) + len(o.Key)
	for i := range o.Headers {
		size += len(o.Headers[i].Name) + len(o.Headers[i].Value)
	}
	p.reserve(size, len(o.Headers)+1)
	p.header(headerID, p.bytes(o.ID))
	for i := range o.Headers {
		p.header(p.bytes(o.Headers[i].Name), p.bytes(o.Headers[i].Value))
	}
	p.record(o.Topic, o.Key, o.Payload)
}

// fillMessage is fill for a Watermill message.
func (p *pending) fillMessage(topic, key string, m *message.Message) {
	size := len(m.UUID) + len(key)
	for k, v := range m.Metadata {
		size += len(k) + len(v)
	}
	p.reserve(size, len(m.Metadata)+1)
	p.header(headerID, p.bytes(m.UUID))
	for k, v := range m.Metadata {
		if k == channel.HeaderKey && v == key { // it travels as the record's key
			continue
		}
		p.header(p.bytes(k), p.bytes(v))
	}
	p.record(topic, key, m.Payload)
}

func (p *pending) reserve(size, headers int) {
	if cap(p.buf) < size {
		p.buf = make([]byte, 0, max(size, 256))
	}
	p.buf = p.buf[:0]
	if cap(p.msg.Headers) < headers {
		p.msg.Headers = make([]sarama.RecordHeader, 0, max(headers, 8))
	}
	p.msg.Headers = p.msg.Headers[:0]
}

func (p *pending) header(name, value []byte) {
	p.msg.Headers = append(p.msg.Headers, sarama.RecordHeader{Key: name, Value: value})
}

func (p *pending) bytes(s string) []byte {
	at := len(p.buf)
	p.buf = append(p.buf, s...)
	return p.buf[at:len(p.buf):len(p.buf)]
}

// record sets what the client keeps of the last message, too.
func (p *pending) record(topic, key string, payload []byte) {
	p.msg = sarama.ProducerMessage{Topic: topic, Headers: p.msg.Headers, Metadata: p}
	if key != "" {
		p.key = p.bytes(key)
		p.msg.Key = &p.key
	}
	if payload != nil {
		p.value = payload
		p.msg.Value = &p.value
	}
}
