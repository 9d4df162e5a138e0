package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// An identity is under what a partition is written, so that the broker knows a batch that it has already.
type identity struct {
	id    int64
	epoch int16
}

// anonymous is for who may write duplicates.
func anonymous() *identity { return &identity{-1, -1} }

// identities are a writer's.
type identities struct {
	identity *identity    // for partitions that have none; nil: it is to be asked for
	asking   bool         // for one
	nameless []*partition // that wait for it
}

// identify gives a partition an identity, and reports whether it has one now. Each partition counts its own batches,
// so another may keep one that has failed for this.
func (w *writer) identify(p *partition) bool {
	if w.identity == nil && w.conf.AllowDuplicates {
		w.identity = anonymous()
	}
	if w.identity != nil {
		p.identity, p.sequence = w.identity, 0
		return true
	}
	p.busy = true
	w.nameless = append(w.nameless, p)
	if w.asking {
		return false
	}
	w.asking = true
	w.away.Go(func() {
		x, err := w.ask()
		w.do(func() { w.identified(x, err) })
	})
	return false
}

// ask has the cluster make an identity.
func (w *writer) ask() (*identity, error) {
	res, err := w.client.InitProducerID()
	if err != nil {
		return nil, err //nolint:wrapcheck // It is looked at first.
	}
	if !errors.Is(res.Err, sarama.ErrNoError) {
		return nil, res.Err
	}
	return &identity{res.ProducerID, res.ProducerEpoch}, nil
}

func (w *writer) identified(x *identity, err error) {
	w.asking, w.identity = false, x
	ps := w.nameless
	w.nameless = nil
	for _, p := range ps {
		p.busy = false
		switch {
		case err == nil:
			w.touch(p)
		case errors.Is(err, sarama.ErrClusterAuthorizationFailed):
			w.failAll(p, fmt.Errorf("topic %q: %w: allow this user IdempotentWrite, or set PublisherConfig.AllowDuplicates", p.of.name, err))
		default:
			p.leader = nil // what looks for it finds brokers again that the client has given up
			w.rest(p, fmt.Errorf("topic %q: asking for a producer's identity: %w", p.of.name, err))
		}
	}
}

// renew takes a partition's identity away, whose numbers cannot be gone on with. That of a transaction comes to nothing
// with the transaction.
func (w *writer) renew(p *partition) {
	if w.transaction != nil {
		return
	}
	if w.identity == p.identity {
		w.identity = nil
	}
	p.identity = nil
}
