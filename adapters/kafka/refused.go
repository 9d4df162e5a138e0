package kafka

import "github.com/IBM/sarama"

// A refusal is a batch of records that the client cannot read.
type refusal struct {
	from, end int64 // offsets, end not included
	err       error
}

// takeRefused gives out the record that stands for a refused batch. It has no bytes.
func (c *claim) takeRefused() []delivery {
	r := c.refused
	c.refused = nil
	m := &sarama.ConsumerMessage{Topic: c.topic, Partition: c.partition, Offset: r.from}
	c.flying += recordOverhead
	return []delivery{{claim: c, msg: m, size: recordOverhead, seq: c.progress.give(r.end), err: r.err}}
}

// refusals looks into an error that may be that of a refused batch.
func (m *member) refusals(err error) {}
