package idempotency

import (
	"context"
	"errors"
	"time"

	"github.com/leat-go/leat/channel"
)

// A Store remembers which keys are done and who works on which. Every method is safe for concurrent
// use and linearizable: of many who begin a key, one gets it. Test one with leattest.IdempotencyStore.
//
// An error that is none of this package's means that the store could not be asked: the message waits.
type Store interface {
	// Begin claims a key. It gives a claim that is Done if the key was committed and is still
	// remembered; ErrRunning while another's lease lasts; ErrConflict if the key is known, done or
	// running, with another digest. A claim whose lease is over is taken over: Again, a greater Token.
	Begin(ctx context.Context, r BeginRequest) (Claim, error)
	// Renew has the lease of a claim last for so long from now. ErrLost: it is not the caller's any
	// more.
	Renew(ctx context.Context, c Claim, lease time.Duration) error
	// Commit marks the claim's key as done. ErrLost: the claim was taken over, and nothing was
	// written. A lease that is over but was not taken over does not matter.
	Commit(ctx context.Context, r CommitRequest) error
	// Abort lets go of the key as if it had never been begun. ErrLost as for Commit.
	Abort(ctx context.Context, c Claim) error
}

// A BeginRequest asks for a key.
type BeginRequest struct {
	Scope  string // "flow/step": the same key in two scopes is two keys
	Key    string
	Digest Digest        // of the payload; zero: unknown, not compared
	Lease  time.Duration // how long the claim lasts unless renewed; more than zero
}

// Endless is a lease that never ends: for a store that dies together with those who use it.
const Endless time.Duration = 1<<63 - 1

// A Claim is the right to work on a key, or the news that it is done. It is a value: keep it as it was
// given.
type Claim struct {
	Scope string
	Key   string
	// Token is the fencing token: greater than that of every claim on the key before.
	Token uint64
	// Done says that the key was committed before: there is nothing to do, commit or abort.
	Done bool
	// Again says that an earlier claim on the key ran out without commit or abort: its owner died, and
	// nobody knows how far it got.
	Again bool
	// Result is what was committed with a key that is Done. A string, for nobody may change it.
	Result string

	place // the memory store's own
}

// A CommitRequest marks a key as done.
type CommitRequest struct {
	Claim    Claim
	Result   string        // given back to whoever begins the key again; any bytes
	Remember time.Duration // how long at least; more than zero
}

// The errors of a Store. All but ErrConflict are Later: the message waits and is tried again.
var (
	// ErrRunning: another is working on the key.
	ErrRunning = channel.Later(errors.New("message is being processed elsewhere"), 0)
	// ErrLost: the claim was taken over after its lease had ended, or was let go.
	ErrLost = channel.Later(errors.New("claim is lost: its lease ended and another took it over"), 0)
	// ErrConflict: the key is known with another payload. One of the two messages is forged, or its
	// sender gives one id to two messages. Permanent: it goes to the dead letter, where both can be
	// compared.
	ErrConflict = channel.Permanent(errors.New("same id as an earlier message but another payload"))
)
