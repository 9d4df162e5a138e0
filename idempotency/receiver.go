package idempotency

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/leat-go/leat/channel"
)

// Duplicate is the reason under which a message that was done before is dropped.
const Duplicate = "duplicate"

// A Receiver is the Idempotent Receiver as an interceptor: of the messages with one key, the step's
// block finishes one. The key is begun at each attempt, let go when the attempt fails, and committed
// after everything the message caused has been published. A message that ends in the dead letter is
// let go too, so that it can be put back.
//
// It is a value; a copy is the same receiver. It is safe for concurrent use.
// Source: Idempotent Receiver, Enterprise Integration Patterns, page 528.
type Receiver struct {
	// Store remembers. Required.
	Store Store
	// Key tells which messages are the same. Nil: the message's id. A message for which it gives ""
	// is ErrNoKey. See ByHeader.
	Key func(e *channel.Envelope) string
	// Lease is how long after the death of a process its messages wait before another takes them
	// over. Work may take longer: the lease is renewed every third of it until the message is
	// settled. 0: 10 s; at least 10 ms. A Memory used directly gives endless leases, for it dies with
	// the receiver.
	Lease time.Duration
	// Remember is how long at least a key is known to be done. 0: 24 h.
	Remember time.Duration
	// Fence has the message's context carry the claim (ClaimOf), and end with ErrLost as its cause
	// when the claim is lost. It is always so but for a Memory used directly, which loses no claim
	// and then saves the cost.
	Fence bool
}

// ErrNoKey: Receiver.Key gave "". Permanent.
var ErrNoKey = channel.Permanent(errors.New("message has no idempotency key"))

const (
	defaultLease    = 10 * time.Second
	defaultRemember = 24 * time.Hour
	minLease        = 10 * time.Millisecond

	// Parts of a lease: after which it is renewed; how long a message waits for another that is
	// running (of 10 s: 100 ms), and for a store that failed (1 s).
	renewals      = 3
	runningPauses = 100
	failedPauses  = 10
)

var errNoStore = errors.New("idempotency.Receiver.Store is nil: set a store, for example new(idempotency.Memory)")

// ByHeader is a Key: the value of a header, such as the delivery id of a webhook. Set apart from the
// message's id, it finds duplicates that the sender sent as two messages.
func ByHeader(name string) func(*channel.Envelope) string {
	return func(e *channel.Envelope) string { return e.Get(name) }
}

// Shape says that the receiver keeps state outside of the broker, and what is wrong with its fields.
func (r Receiver) Shape() channel.Shape {
	return channel.Shape{Pattern: "Idempotent Receiver", Effect: channel.External, Err: r.err()}
}

func (r Receiver) err() error {
	var errs []error
	if v := reflect.ValueOf(r.Store); r.Store == nil || v.Kind() == reflect.Pointer && v.IsNil() { // a nil pointer hides in an interface
		errs = append(errs, errNoStore)
	}
	if r.Lease != 0 && r.Lease < minLease {
		errs = append(errs, fmt.Errorf("idempotency.Receiver.Lease is %v: set at least %v, or 0 for %v", r.Lease, minLease, defaultLease))
	}
	if r.Remember < 0 {
		errs = append(errs, fmt.Errorf("idempotency.Receiver.Remember is %v: set a positive time, or 0 for %v", r.Remember, defaultRemember))
	}
	return errors.Join(errs...)
}

// Enter claims the message's key. A clock's due key is no message and passes.
func (r Receiver) Enter(e *channel.Envelope) (channel.Result, channel.Exit, error) {
	if e.Tick() {
		return channel.Result{}, nil, nil
	}
	c, err := r.begin(e)
	if err != nil {
		return channel.Result{}, nil, err
	}
	if c.Done {
		return channel.Drop(Duplicate), nil, nil
	}
	return channel.Result{}, r.attempt(e, c).exit, nil
}

// begin claims the key of a message.
func (r *Receiver) begin(e *channel.Envelope) (Claim, error) {
	if r.Store == nil {
		return Claim{}, channel.Permanent(errNoStore)
	}
	var key string
	if r.Key == nil {
		key = e.ID()
	} else if key = r.Key(e); key == "" {
		return Claim{}, fmt.Errorf("message %q: %w: Receiver.Key gave an empty string", e.ID(), ErrNoKey)
	}
	q := BeginRequest{Scope: e.Scope(), Key: key, Digest: digest(e), Lease: r.lease()}
	c, err := r.Store.Begin(e.Context(), q)
	if err == nil && c.Done && e.Get(channel.HeaderOnly) != "" {
		// It was put back from the dead letter although it is done: it had been held, and its group
		// died later. It counts as another message, or putting it back would lose it.
		q.Key += " put back " + e.Get(channel.HeaderPutBack)
		c, err = r.Store.Begin(e.Context(), q)
	}
	if err != nil {
		return Claim{}, r.failed("claiming", q.Scope, q.Key, err)
	}
	return c, nil
}

// failed makes an error of the store one of the message: whatever is not the message's own fault is
// Later, so that a store that is down stops messages instead of letting them pass.
func (r *Receiver) failed(doing, scope, key string, err error) error {
	err = fmt.Errorf("%s %s in scope %q: %w", doing, named(key, r.Key != nil), scope, err)
	if channel.IsPermanent(err) {
		return err
	}
	if after, ok := channel.IsLater(err); ok && after > 0 {
		return err
	}
	if errors.Is(err, ErrRunning) {
		return channel.Later(err, r.leaseTime()/runningPauses)
	}
	return channel.Later(err, r.leaseTime()/failedPauses)
}

// named is a message in the text of an error: by its id, which may be told, and not by a Key made of it.
func named(key string, keyed bool) string {
	if keyed {
		return "a message"
	}
	return "message " + strconv.Quote(key)
}

// local reports that the store lives and dies with this process. A store around a Memory does not: it
// may stand for another process, as in a test of crashes.
func (r *Receiver) local() bool {
	_, ok := r.Store.(*Memory)
	return ok
}

// lease is what to ask the store for.
func (r *Receiver) lease() time.Duration {
	if r.local() {
		return Endless
	}
	return r.leaseTime()
}

func (r *Receiver) leaseTime() time.Duration {
	if r.Lease == 0 {
		return defaultLease
	}
	return r.Lease
}

func (r *Receiver) remember() time.Duration {
	if r.Remember == 0 {
		return defaultRemember
	}
	return r.Remember
}

type claimKey struct{}

// ClaimOf gives the claim under which a message is being processed: its Token is for whoever carries
// out the effect and can refuse an older one. See Receiver.Fence.
func ClaimOf(ctx context.Context) (Claim, bool) {
	c, ok := ctx.Value(claimKey{}).(Claim)
	return c, ok
}
