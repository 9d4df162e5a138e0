package kafka

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/channel"
)

// back goes on with the partitions of a request that is answered.
func (w *writer) back(d *desk, bs []*batch) {
	d.open--
	for _, b := range bs {
		b.to.busy = false
		w.judge(b.to, b)
		w.touch(b.to)
	}
}

// judge decides what becomes of a batch that is back.
func (w *writer) judge(p *partition, b *batch) {
	if b.err == nil {
		if p.failures > 0 {
			w.calm(p.of)
		}
		p.failures, p.batch, p.sequence = 0, nil, following(p.sequence, len(b.items))
		return
	}
	r, why := remedyOf(b.err), reason(p.of.name, b.err)
	b.doubtful = b.doubtful || r == seekAnswer
	crowded := r == refuse && b.isTooLarge() && len(b.items) > 1
	if crowded { // the batch is too large, which says nothing of its messages
		p.most, why = max(b.bytes/2, 1), fmt.Errorf("topic %q: %w", p.of.name, b.err)
	}
	halved := crowded && !b.doubtful
	if t := w.transaction; t != nil && (r == refuse || r == renew) && !halved { // it comes to nothing
		r, t.failed = refuse, why
	}
	switch {
	case halved:
		w.unpack(p)
		return
	case r == refuse:
		w.refuse(p, b, why)
		return
	case r == renew: // the broker knows nothing of the batches before, and has not written this one
		w.renew(p)
		w.unpack(p)
	case !b.doubtful:
		p.leader = nil
		w.unpack(p)
	default: // it goes out again as it is
		p.leader = nil
		w.dropAbandoned(p)
	}
	w.rest(p, why)
}

// dropAbandoned gives up a batch, and its numbers, of which all who sent it have been told that nobody knows.
func (w *writer) dropAbandoned(p *partition) {
	if p.batch != nil && p.batch.isAbandoned() {
		w.renew(p)
		p.batch = nil
	}
}

// A strand is what of one parcel has one key: its order is kept, whatever fails.
type strand struct {
	of  *parcel
	key string
}

var errBehind = errors.New("one of its key before it in the same call has failed")

// refuse settles what of a batch the broker has refused for good: the records it names, or all. If it may have been written
// before, nobody knows of any, and no other batch may have its numbers. What may be sent again is passed by nothing of its
// strand.
func (w *writer) refuse(p *partition, b *batch, why error) {
	bad := map[int]bool{}
	if b.doubtful {
		why = fmt.Errorf("%w: %w", ErrUnknown, why)
		w.renew(p)
	} else {
		for _, r := range b.bad {
			if int(r.BatchIndex) < len(b.items) {
				bad[int(r.BatchIndex)] = true
			}
		}
	}
	held := map[strand]bool{}
	for i, x := range b.items {
		of := strand{x.of, string(x.rec.Key)}
		switch {
		case len(bad) == 0 || bad[i]:
			if x.state.CompareAndSwap(given, settled) {
				x.err = why
				w.failed = append(w.failed, x)
			}
			held[of] = x.rec.Key != nil && !channel.IsPermanent(why)
		case held[of]:
			x.state.CompareAndSwap(given, queued)
			w.fail(x, errBehind)
		}
	}
	for _, x := range p.waiting {
		if held[strand{x.of, string(x.rec.Key)}] {
			w.fail(x, errBehind)
		}
	}
	w.unpack(p)
}

// unpack has what was in a batch that was not written wait again.
func (w *writer) unpack(p *partition) {
	waiting := make([]*pending, 0, len(p.batch.items)+len(p.waiting))
	for _, x := range p.batch.items {
		if x.state.CompareAndSwap(given, queued) {
			waiting = append(waiting, x)
		}
	}
	p.waiting, p.batch = append(waiting, p.waiting...), nil
}

const (
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second
)

// rest has a partition in trouble wait before the next try.
func (w *writer) rest(p *partition, trouble error) {
	p.busy = true
	p.failures++
	w.note(p.of, trouble)
	p.waiting = waitingOf(p.waiting)
	time.AfterFunc(pause(firstPause, longestPause, p.failures), func() {
		w.do(func() {
			p.busy = false
			w.touch(p)
		})
	})
}

// isTooLarge reports whether the broker takes smaller batches only.
func (b *batch) isTooLarge() bool {
	return errors.Is(b.err, sarama.ErrMessageSizeTooLarge) || errors.Is(b.err, sarama.ErrMessageSetSizeTooLarge)
}

// isAbandoned reports whether nobody waits for any of it.
func (b *batch) isAbandoned() bool {
	return !slices.ContainsFunc(b.items, func(x *pending) bool { return x.state.Load() != settled })
}

// A remedy is what to do about a batch that has failed.
type remedy uint8

const (
	refuse     remedy = iota // its senders are told
	again                    // it was certainly not written: what is in it is sent again
	seekAnswer               // it may have been written: it is sent again, as it was
	renew                    // as again, under another identity
)

// remedyOf takes an error for the proof that a batch was not written only where a broker looks before it writes: one that
// is no longer the leader says so of what it has written, too, and what the next leader may have of it.
func remedyOf(err error) remedy {
	var code sarama.KError
	var invalid sarama.PacketEncodingError
	switch {
	case errors.Is(err, errUnsent):
		return again
	case errors.As(err, &invalid):
		return refuse
	case !errors.As(err, &code):
		return seekAnswer // a connection has broken
	}
	switch code { //nolint:exhaustive // The others are for good.
	case sarama.ErrNotEnoughReplicas, sarama.ErrInvalidMessage, sarama.ErrThrottlingQuotaExceeded:
		return again
	case sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable, sarama.ErrUnknownTopicOrPartition, sarama.ErrReplicaNotAvailable,
		sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch, sarama.ErrRequestTimedOut, sarama.ErrNotEnoughReplicasAfterAppend,
		sarama.ErrKafkaStorageError, sarama.ErrNetworkException, sarama.ErrUnknown:
		return seekAnswer
	case sarama.ErrOutOfOrderSequenceNumber, sarama.ErrUnknownProducerID, sarama.ErrInvalidProducerEpoch:
		return renew
	}
	return refuse
}

// reason says what the broker's error means.
func reason(topic string, err error) error {
	switch {
	case errors.Is(err, sarama.ErrMessageSizeTooLarge), errors.Is(err, sarama.ErrMessageSetSizeTooLarge):
		return fmt.Errorf("%w: topic %q: %w: raise its max.message.bytes, or lower PublisherConfig.Limits", channel.ErrTooLarge, topic, err)
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		return noTopic(topic)
	}
	return fmt.Errorf("topic %q: %w", topic, err)
}
