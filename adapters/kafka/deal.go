package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// A destination is a topic that is written to.
type destination struct {
	name       string
	chooses    sarama.Partitioner
	asked      sarama.ProducerMessage // to ask it with
	key        body
	partitions []*partition // that the topic has
	known      []*partition // and that it had: they keep their identity, or what comes back would begin to count anew under it
	waiting    []*pending   // until the partitions are known
	looking    bool
	looked     time.Time // at how many partitions there are
	failures   int       // to look, in a row
}

// lookEvery is how often a topic is looked at that is written to: it may get more partitions.
const lookEvery = time.Minute

// deal puts a message where it belongs.
func (w *writer) deal(x *pending) {
	d := w.latest
	if d == nil || d.name != x.topic {
		d = w.destination(x.topic)
		w.latest = d
	}
	switch {
	case len(d.partitions) == 0:
		d.waiting = append(d.waiting, x)
		w.look(d)
		return
	case w.now.Sub(d.looked) > lookEvery:
		w.look(d)
	}
	w.place(d, x)
}

func (w *writer) destination(topic string) *destination {
	d, ok := w.topics[topic]
	if !ok {
		d = &destination{name: topic, chooses: w.client.Config().Producer.Partitioner(topic)}
		w.topics[topic] = d
	}
	return d
}

// look finds out how many partitions a topic has. One that is missing is made, or its messages fail.
func (w *writer) look(d *destination) {
	if d.looking {
		return
	}
	d.looking = true
	w.away.Go(func() {
		n, err := w.count(d.name)
		w.do(func() { w.counted(d, n, err) })
	})
}

func (w *writer) count(topic string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.conf.Cluster.ReadTimeout)
	defer cancel()
	missing, err := missingOf(w.client, []string{topic}, false)
	if err == nil && len(missing) > 0 {
		err = ensureBy(ctx, w.client, w.conf.Create, missing)
	}
	if err != nil {
		return 0, err
	}
	if err := refresh(w.client, topic); err != nil {
		return 0, fmt.Errorf("topic %q: %w", topic, err)
	}
	ids, err := w.client.Partitions(topic)
	if err != nil {
		return 0, fmt.Errorf("topic %q: %w", topic, err)
	}
	return len(ids), nil
}

func (w *writer) counted(d *destination, n int, err error) {
	d.looking, d.looked = false, w.now
	if err != nil && len(d.partitions) == 0 && !errors.Is(err, ErrNoTopic) && isPassing(err) {
		w.lookAgain(d, err)
		return
	}
	if d.failures > 0 {
		w.calm(d)
	}
	d.failures = 0
	for i := len(d.known); i < n; i++ {
		d.known = append(d.known, &partition{of: d, number: int32(i), most: w.client.Config().Producer.MaxMessageBytes}) //nolint:gosec // A few.
	}
	if n > 0 {
		d.partitions = d.known[:n]
		for _, p := range d.known[n:] {
			w.touch(p)
		}
	}
	for _, x := range d.waiting {
		if len(d.partitions) == 0 {
			w.fail(x, err)
			continue
		}
		w.place(d, x)
	}
	d.waiting = nil
}

// isGone reports whether the topic has no such partition: it was made anew with fewer, or the broker that was asked has not
// heard of it yet.
func (p *partition) isGone() bool { return int(p.number) >= len(p.of.partitions) }

// leave has what waits for a partition that is gone wait for others. A batch is sent until its senders give up.
func (w *writer) leave(p *partition) {
	waiting := waitingOf(p.waiting)
	p.waiting = nil
	for _, x := range waiting {
		w.place(p.of, x)
	}
}

// lookAgain looks at a topic after a pause, for those who still wait for it.
func (w *writer) lookAgain(d *destination, trouble error) {
	d.looking = true
	d.failures++
	w.note(d, trouble)
	d.waiting = waitingOf(d.waiting)
	time.AfterFunc(pause(firstPause, longestPause, d.failures), func() {
		w.do(func() {
			if d.looking = false; len(d.waiting) > 0 {
				w.look(d)
			}
		})
	})
}

// place has a message wait for the partition of its key.
func (w *writer) place(d *destination, x *pending) {
	d.asked.Key = nil
	if d.key = x.rec.Key; d.key != nil {
		d.asked.Key = &d.key
	}
	i, err := d.chooses.Partition(&d.asked, int32(len(d.partitions))) //nolint:gosec // A few.
	if err != nil {
		w.fail(x, err)
		return
	}
	p := d.partitions[i]
	p.waiting = append(p.waiting, x)
	w.touch(p)
}

// waitingOf leaves out messages whose senders have given up.
func waitingOf(xs []*pending) []*pending {
	return slices.DeleteFunc(xs, func(x *pending) bool { return x.state.Load() == settled })
}
