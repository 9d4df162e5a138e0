package kafka

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A Publisher publishes to a Kafka cluster: a message.Publisher, an adapters.BatchPublisher and an
// adapters.Transactor. It is safe for concurrent use, and connects when it is first used.
//
// Order: messages of one key on one topic are written in the order in which one goroutine sends them,
// whatever is sent again in between.
type Publisher struct {
	conf PublisherConfig

	writer *writer
	start  sync.Once // it

	mu      sync.Mutex
	line    line
	closed  bool
	empty   sync.Once
	through chan struct{}  // closed when it is closed and the line is empty
	timer   *time.Timer    // of late
	rings   time.Time      // when it fires; zero: it does not
	telling sync.WaitGroup // what late tells senders of

	tx transactions
}

var (
	_ message.Publisher       = (*Publisher)(nil)
	_ adapters.BatchPublisher = (*Publisher)(nil)
	_ adapters.Topics         = (*Publisher)(nil)
	_ adapters.System         = (*Publisher)(nil)
)

const system = "kafka"

// NewPublisher checks the settings and connects to nothing. The error is an ErrConfig that names every
// wrong field.
func NewPublisher(c PublisherConfig) (*Publisher, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	p := &Publisher{conf: c, through: make(chan struct{}), tx: transactions{id: c.TransactionalID}}
	p.writer = newWriter(&p.conf, p.settle)
	return p, nil
}

// System is "kafka".
func (*Publisher) System() string { return system }

// A PublishError says what of a Publish was not done. What it does not list was.
type PublishError struct {
	Topic  string
	Failed []Failure // in the order of publishing
	Of     int       // messages in all
}

// A Failure is a message that was not published, or of which nobody knows: then Err is an ErrUnknown.
type Failure struct {
	Message *message.Message
	Err     error
}

// Error names the topic, the numbers and the first reason.
func (e *PublishError) Error() string {
	unknown := 0
	for i := range e.Failed {
		if errors.Is(e.Failed[i].Err, ErrUnknown) {
			unknown++
		}
	}
	return fmt.Sprintf("publishing to topic %q: %d of %d messages failed, of %d more it is unknown (PublishError.Failed lists them; publish those again): %v",
		e.Topic, len(e.Failed)-unknown, e.Of, unknown, e.Failed[0].Err)
}

// Unwrap gives every reason.
func (e *PublishError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i := range e.Failed {
		errs[i] = e.Failed[i].Err
	}
	return errs
}

// Rest gives the messages to publish again.
func (e *PublishError) Rest() []*message.Message {
	rest := make([]*message.Message, len(e.Failed))
	for i := range e.Failed {
		rest[i] = e.Failed[i].Message
	}
	return rest
}

// Publish sends messages in one operation and waits until every one is acknowledged by all replicas in
// sync, has failed, or has waited for SendTimeout or its own context's end, which is noticed within 20 ms.
// An error is a *PublishError with a result for each message that failed; it wraps channel.ErrTooLarge, ErrUnknown,
// ErrNoTopic, adapters.ErrClosed, or what the client says. If a message is beyond Limits, nothing is sent. Nobody may change
// the payloads before it returns, and those of messages that are ErrUnknown never: they may still be on their way.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	var few [4]string
	keys := few[:0]
	if len(messages) > len(few) {
		keys = make([]string, 0, len(messages))
	}
	for _, m := range messages {
		keys = append(keys, p.keyOf(topic, m))
	}
	if errs, bad := p.checkAll(messages, keys); bad {
		return publishError(topic, messages, errs)
	}
	r := &results{errs: make([]error, len(messages)), through: make(chan struct{})}
	r.left.Store(int32(len(messages))) //nolint:gosec // Nobody publishes 2^31 messages.
	const chunk = 1024
	at := 0
	for part := range slices.Chunk(messages, chunk) { // of very many, the first are sent while others are prepared
		p.push(p.parcel(topic, part, keys[at:], r, at))
		at += len(part)
	}
	<-r.through
	return publishError(topic, messages, r.errs)
}

// parcel makes one of messages and their keys, the first of which is at an index of the results.
func (*Publisher) parcel(topic string, messages []*message.Message, keys []string, r *results, at int) *parcel {
	var n size
	for _, m := range messages {
		texts := len(m.UUID)
		for k, v := range m.Metadata {
			texts += len(k) + len(v)
		}
		n.add(len(m.Metadata), texts) // a key that is not among them has to be grown for
	}
	of := newParcel(n)
	of.results = r
	for i, m := range messages {
		x := of.putMessage(topic, keys[i], m)
		x.at = at + i
		x.watch(m.Context())
	}
	return of
}

func publishError(topic string, messages []*message.Message, errs []error) error {
	e := &PublishError{Topic: topic, Of: len(messages)}
	for i, err := range errs {
		if err != nil {
			e.Failed = append(e.Failed, Failure{messages[i], err})
		}
	}
	if e.Failed == nil {
		return nil
	}
	return e
}

// checkAll finds messages that readers with the same Limits would take for none. If there is one, none is sent.
func (p *Publisher) checkAll(messages []*message.Message, keys []string) (errs []error, bad bool) {
	l := &p.conf.Limits
	for i, m := range messages {
		bytes, forged := len(HeaderID)+len(m.UUID)+len(keys[i]), false
		for k, v := range m.Metadata {
			bytes += len(k) + len(v)
			forged = forged || k == HeaderID
		}
		if len(m.Payload) <= l.Body && len(m.Metadata) <= l.Headers && bytes <= min(l.Header, l.HeaderBytes) && !forged {
			continue
		}
		err := p.checkNames(m.UUID, keys[i], forged)
		if err == nil {
			err = l.Check(m.Payload, channel.Metadata(m.Metadata))
		}
		if err != nil {
			if errs == nil {
				errs = make([]error, len(messages))
			}
			errs[i], bad = fmt.Errorf("message %.64q: %w", m.UUID, err), true
		}
	}
	if bad {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = errNotTried
			}
		}
	}
	return errs, bad
}

// checkNames checks what is no header of the message's, but part of the record.
func (p *Publisher) checkNames(id, key string, forged bool) error {
	most := p.conf.Limits.Header
	switch {
	case forged:
		return fmt.Errorf("%w: %s is that of the id: remove it from the metadata", ErrForged, HeaderID)
	case len(HeaderID)+len(id) > most:
		return fmt.Errorf("%w: its id has %d bytes, the limit is %d, which is Limits.Header less the header's name", channel.ErrTooLarge, len(id), most-len(HeaderID))
	case len(key) > most:
		return fmt.Errorf("%w: its key has %d bytes, the limit is %d, which is Limits.Header", channel.ErrTooLarge, len(key), most)
	}
	return nil
}

var errNotTried = errors.New("not sent: another message of the batch is refused")

func (p *Publisher) keyOf(topic string, m *message.Message) string {
	if p.conf.Key != nil {
		return p.conf.Key(topic, m)
	}
	if key := m.Metadata[channel.HeaderKey]; key != "" {
		return key
	}
	key, _ := keyFromCtx(m.Context())
	return key
}

// Send publishes outs and waits for none; see adapters.BatchPublisher. Each gets the errors of Publish.
// done is called from many goroutines, perhaps Send's own, and must not block.
func (p *Publisher) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	n, refused := p.measure(outs)
	if n.items > 0 {
		of := newParcel(n)
		of.done = done
		for _, o := range outs {
			if o.Err != nil {
				continue
			}
			of.put(o).watch(o.Context)
		}
		p.push(of)
	}
	if refused != nil {
		done(refused)
	}
}

// measure gives how much room messages take, and those that are beyond the limits: they have an error then, and the
// others none.
func (p *Publisher) measure(outs []*adapters.Outgoing) (n size, refused []*adapters.Outgoing) {
	for _, o := range outs {
		texts, forged := textsOf(o)
		if o.Err = p.checkOut(o, texts, forged); o.Err != nil {
			refused = append(refused, o)
			continue
		}
		n.add(len(o.Headers), texts)
	}
	return n, refused
}

func (p *Publisher) checkOut(o *adapters.Outgoing, texts int, forged bool) error {
	l := &p.conf.Limits
	if len(o.Payload) <= l.Body && len(o.Headers) <= l.Headers && len(HeaderID)+texts <= min(l.Header, l.HeaderBytes) && !forged {
		return nil
	}
	err := p.checkNames(o.ID, o.Key, forged)
	if err == nil {
		err = l.CheckFields(o.Payload, o.Headers)
	}
	if err != nil {
		return fmt.Errorf("message %.64q for topic %q: %w", o.ID, o.Topic, err)
	}
	return nil
}

// Close refuses further messages, waits for those under way, at most SendTimeout, and for a transaction that is, and closes the
// connections. When it returns, so has every done of what was sent before. It may be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.emptied()
	p.mu.Unlock()
	<-p.through
	p.start.Do(func() { close(p.writer.over) }) // it was never used
	p.writer.close()
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	p.telling.Wait()
	p.tx.close()
	return nil
}

func (p *Publisher) closedErr(topic string) error {
	return fmt.Errorf("topic %q: %w: this publisher was closed", topic, adapters.ErrClosed)
}
