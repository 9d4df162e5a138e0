package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/examples/webhooks/domain"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// The channels.
const (
	incoming   channel.Topic[[]byte]          = "webhooks.incoming"
	events     channel.Topic[domain.Event]    = "webhooks.events"
	relevant   channel.Topic[domain.Event]    = "webhooks.relevant"
	activities channel.Topic[domain.Activity] = "webhooks.activities"
	parts      channel.Topic[domain.Activity] = "webhooks.parts"
	enriched   channel.Topic[domain.Activity] = "webhooks.enriched"
	digests    channel.Topic[domain.Digest]   = "webhooks.digests"

	invalid channel.Topic[[]byte] = "webhooks.invalid"
	expired channel.Topic[[]byte] = "webhooks.expired"
	dead    channel.Topic[[]byte] = "webhooks.dead"
)

// inFamily is the channel of one family's events.
func inFamily(f domain.Family) channel.Topic[domain.Event] {
	return channel.Topic[domain.Event]("webhooks.events." + string(f))
}

// webhooks is the pipeline on a broker.
type webhooks struct {
	flow   *flow.Flow
	handle *flow.Handle
	ends   *ends
	reads  []string // topics on the broker that the flow reads
	emit   func(context.Context, channel.Result) error

	mu      sync.Mutex
	out     io.Writer
	sum     summary
	way     pathway
	letters chan struct{} // closed when the reader of dead letters has ended
	buried  sync.Cond     // told at every dead letter
}

// startWebhooks declares the flow and starts it on the broker of c.Broker. What the broker has to say goes
// to log.
func startWebhooks(ctx context.Context, c config, out, log io.Writer) (pipeline, error) {
	p, topics, steps := declare(c, stores{&idempotency.Memory{}, &aggregator.Memory{}}, out)
	var err error
	if p.ends, err = openEnds(c, log); err != nil {
		return nil, err
	}
	e := p.ends
	// In memory everything between the way in and the digests is a direct hop. The same steps run over a
	// broker as they are; only a digest is written where it is made, since those that are open at the end are
	// made when nothing is read any more.
	if e.hops {
		topics = []channel.Address{digests}
	}
	if p.flow, err = flow.New("webhooks", append(steps, flow.Direct(topics...), flow.Prefix(e.prefix), flow.Limits(channel.Limits{Body: 2 * maxLine}))...); err != nil {
		return nil, errors.Join(fmt.Errorf("declaring the flow: %w", err), e.close())
	}
	if c.Graph {
		return p, e.close()
	}
	for _, u := range p.flow.Topics() {
		if len(u.Reads) > 0 {
			p.reads = append(p.reads, u.Topic)
		}
	}
	letters, err := e.desk.Subscribe(ctx, e.prefix+string(dead))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribing to the dead letters: %w", err), e.close())
	}
	go p.readLetters(letters)
	p.handle, err = p.flow.Start(ctx, e.pub, e.sub)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the flow: %w", err), e.close())
	}
	return p, nil
}

// stores are what the flow remembers. Several instances share them.
type stores struct {
	seen   idempotency.Store
	groups aggregator.Store
}

// declare gives the steps of the flow, and the topics between them.
func declare(c config, s stores, out io.Writer) (p *webhooks, topics []channel.Address, steps []flow.Part) {
	p = &webhooks{out: out, letters: make(chan struct{})}
	p.buried.L = &p.mu
	p.sum.Families, p.sum.Reasons = map[domain.Family]int64{}, map[string]int64{}
	p.way.parts = map[string]map[int]bool{}

	translators := map[domain.Family]func(domain.Event) (domain.Activity, error){
		domain.Code: domain.FromCode, domain.Review: domain.FromReview, domain.Issues: domain.FromIssues,
		domain.Automation: domain.FromAutomation, domain.Security: domain.FromSecurity,
		domain.Community: domain.FromCommunity, domain.Admin: domain.FromAdmin,
	}
	var byFamily []router.Branch[domain.Event]
	topics = []channel.Address{incoming, events, relevant, activities, parts, enriched, digests, invalid, expired}
	for _, f := range domain.Families() {
		byFamily = append(byFamily, router.When(string(f), domain.In(f), inFamily(f)))
		steps = append(steps, flow.Step("translate-"+string(f), inFamily(f), translator.Map(translators[f], activities)))
		topics = append(topics, inFamily(f))
	}
	return p, topics, append(steps,
		flow.Source("webhook", source{p}),
		flow.Step("validate", incoming, validate{}, flow.Around(
			channel.InvalidChannel{To: invalid, When: isInvalid})),
		flow.Step("relevant", events, router.Filter(domain.Relevant, relevant), flow.Around(
			idempotency.Receiver{Store: s.seen}, channel.Expiry{To: expired})),
		flow.Step("by-family", relevant, router.Content(byFamily...)),
		flow.Step("split", activities, router.Split(p.split, parts)),
		flow.Step("enrich", parts, translator.Map(pure(domain.Enrich), enriched)),
		flow.Step("digest", enriched, &aggregator.Aggregator[domain.Activity, domain.Digest]{
			Correlate: p.group,
			Combine:   domain.Combine, To: digests,
			Size: c.DigestSize, Timeout: c.DigestTimeout, CompleteOnDrain: true, Store: s.groups,
		}),
		flow.Step("write", digests, endpoint.Do(p.write)),
		flow.Step("note-invalid", invalid, endpoint.DoMessage(p.noteInvalid)),
		flow.Step("note-expired", expired, endpoint.Do(p.noteExpired)),
		flow.Policy{Attempts: 3, DeadLetter: dead},
	)
}

// source is the way in: Take hands it what comes from a file, from stdin or over HTTP.
type source struct{ p *webhooks }

func (s source) Open(emit func(context.Context, channel.Result) error) { s.p.emit = emit }

func (s source) Shape() channel.Shape {
	return channel.Shape{Pattern: "Channel Adapter", Outlets: []channel.Outlet{channel.Out("", incoming)}}
}

// validate is a block of our own: it reads a line and gives the event the identity and the deadline
// that it names. What domain.Parse refuses goes to the invalid message channel.
type validate struct{}

func (validate) Process(m channel.Message[[]byte]) (channel.Result, error) {
	e, err := domain.Parse(m.Body)
	if err != nil {
		return channel.Result{}, err
	}
	d := channel.To(events, e).ID(e.Delivery) // one delivery id, one message, however often it comes
	if !e.Expires.IsZero() {
		d = channel.Expires.Put(d, e.Expires)
	}
	return channel.Send(d), nil
}

func (validate) Shape() channel.Shape {
	return channel.Shape{Pattern: "Message Translator", Outlets: []channel.Outlet{channel.Out("", events)}}
}

func isInvalid(err error) bool {
	return errors.Is(err, domain.ErrInvalid) || errors.Is(err, channel.ErrDecode)
}

// pure makes a function that cannot fail a translator.
func pure[A, B any](f func(A) B) func(A) (B, error) {
	return func(a A) (B, error) { return f(a), nil }
}

// Take hands one event to the flow and returns when it is settled, over a broker when it is published.
func (p *webhooks) Take(ctx context.Context, line []byte) error {
	if err := p.emit(ctx, channel.Send(channel.To(incoming, line))); err != nil {
		return fmt.Errorf("taking an event: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum.Counts.Received++
	p.way.taken++
	return nil
}

// write writes a digest and counts the events in it.
func (p *webhooks) write(_ context.Context, d domain.Digest) error {
	line, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("writing the digest of %s: %w", d.Group, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the digest of %s: %w", d.Group, err)
	}
	p.sum.Digests++
	p.sum.Commits += int64(d.Commits)
	p.sum.Counts.Done += int64(d.Events)
	for f, n := range d.Families {
		p.sum.Families[f] += int64(n)
	}
	return nil
}

func (p *webhooks) noteInvalid(m channel.Message[[]byte]) error {
	reason := strings.TrimPrefix(m.Get(channel.HeaderReason), domain.ErrInvalid.Error()+": ")
	reason, _, _ = strings.Cut(reason, ":")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum.Counts.Invalid++
	p.sum.Reasons["invalid: "+reason]++
	return nil
}

func (p *webhooks) noteExpired(context.Context, []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum.Counts.Expired++
	return nil
}

// readLetters is the dead letter's desk: it counts what finally failed, and why.
func (p *webhooks) readLetters(letters <-chan *message.Message) {
	defer close(p.letters)
	for m := range letters {
		p.mu.Lock()
		p.sum.Counts.Dead++
		p.sum.Reasons["dead: "+m.Metadata[flow.DeadStep]+": "+m.Metadata[flow.DeadError]]++
		p.buried.Broadcast()
		p.mu.Unlock()
		m.Ack()
	}
}

// Drain waits until every event has come to its end, completes the open digests, and waits until the desk
// has seen every dead letter.
func (p *webhooks) Drain(ctx context.Context) error {
	var err error
	if p.ends.hops {
		err = p.rest(ctx)
	}
	err = errors.Join(err, p.handle.Drain(ctx))
	counts := p.handle.Counts()
	var want int64
	for _, c := range counts {
		want += c.Dead
	}
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.buried.Broadcast()
	})()
	p.mu.Lock()
	for p.sum.Counts.Dead < want && ctx.Err() == nil {
		p.buried.Wait()
	}
	p.sum.Counts.Filtered = counts["relevant"].Dropped["filtered"]
	p.sum.Counts.Duplicate = counts["relevant"].Dropped[idempotency.Duplicate]
	for _, c := range counts {
		p.sum.Counts.InFlight += c.InFlight
	}
	p.sum.Broker = p.ends.name
	p.mu.Unlock()
	err = errors.Join(err, p.ends.close())
	<-p.letters
	if err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	return nil
}

// Summary is what the run came to, after Drain.
func (p *webhooks) Summary() summary {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sum
}

// Graph is the flow in Mermaid.
func (p *webhooks) Graph() string { return p.flow.Mermaid() }
