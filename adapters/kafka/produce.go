package kafka

import (
	"errors"
	"math"
	"time"

	"github.com/IBM/sarama"
)

// A batch is what one partition is sent at once.
type batch struct {
	to       *partition
	items    []*pending
	bytes    int
	records  *sarama.RecordBatch // as it goes out, again and again
	doubtful bool                // it may have been written

	// Of the latest request; nil: it is written.
	err error
	bad []sarama.ProduceResponseRecordError
}

// request sends batches to a broker and waits for what it says. Who waits for what is written is told at once.
func (w *writer) request(to *sarama.Broker, bs []*batch) {
	conf := w.client.Config()
	req := &sarama.ProduceRequest{
		RequiredAcks: sarama.WaitForAll, Timeout: int32(conf.Producer.Timeout / time.Millisecond), //nolint:gosec // Seconds.
		Version: produceVersion(conf.Version),
	}
	if w.transaction != nil {
		req.TransactionalID = &w.transaction.id
	}
	for _, b := range bs {
		req.AddBatch(b.to.of.name, b.to.number, w.encoded(b, conf))
	}
	res, err := produce(to, req)
	if err != nil {
		for _, b := range bs {
			b.err, b.bad = err, nil
		}
		return
	}
	var told []*pending
	for _, b := range bs {
		answer := res.GetBlock(b.to.of.name, b.to.number)
		if answer == nil {
			b.err = sarama.ErrIncompleteResponse
			continue
		}
		switch answer.Err {
		case sarama.ErrNoError, sarama.ErrDuplicateSequenceNumber:
			b.err = nil
			for _, x := range b.items {
				if x.state.CompareAndSwap(given, settled) { // else its sender was told long ago
					told = append(told, x)
				}
			}
		default:
			b.err, b.bad = answer.Err, answer.RecordErrors
		}
	}
	if len(told) > 0 {
		w.settle(told)
	}
}

// errUnsent is why a request has reached nobody.
var errUnsent = errors.New("there is no connection")

// produce sends a request and waits for its answer. A connection that has failed is closed.
func produce(to *sarama.Broker, req *sarama.ProduceRequest) (res *sarama.ProduceResponse, err error) {
	if ok, err := to.Connected(); !ok {
		return nil, errors.Join(errUnsent, err)
	}
	answered := make(chan struct{})
	if sent := to.AsyncProduce(req, func(r *sarama.ProduceResponse, e error) {
		res, err = r, e
		close(answered)
	}); sent != nil {
		err = sent
	} else {
		<-answered
	}
	var invalid sarama.PacketEncodingError
	if err != nil && !errors.As(err, &invalid) {
		_ = to.Close()
	}
	return res, err
}

// encoded gives the batch as it goes out. What was compressed once is not again.
func (w *writer) encoded(b *batch, conf *sarama.Config) *sarama.RecordBatch {
	if b.records == nil {
		now := time.Now().Truncate(time.Millisecond)
		b.records = &sarama.RecordBatch{
			Version: 2, Codec: conf.Producer.Compression, CompressionLevel: conf.Producer.CompressionLevel,
			FirstTimestamp: now, MaxTimestamp: now, LastOffsetDelta: int32(len(b.items) - 1), //nolint:gosec // Thousands.
			ProducerID: b.to.identity.id, ProducerEpoch: b.to.identity.epoch, FirstSequence: b.to.sequence,
			IsTransactional: w.transaction != nil,
			Records:         make([]*sarama.Record, len(b.items)),
		}
		for i, x := range b.items {
			x.rec.OffsetDelta = int64(i)
			b.records.Records[i] = &x.rec
		}
	}
	return b.records
}

// produceVersion is that of requests to produce.
func produceVersion(v sarama.KafkaVersion) int16 {
	switch {
	case v.IsAtLeast(sarama.V3_7_0_0):
		return 10
	case v.IsAtLeast(sarama.V2_8_0_0):
		return 9
	}
	return 8 // of 2.4, and Cluster.Version is newer
}

// following is the number behind n messages.
func following(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}
