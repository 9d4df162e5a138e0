package aggregator

import (
	"context"
	"errors"
	"time"

	"github.com/leat-go/leat/channel"
)

// A Store keeps open groups. Everything in it has a scope ("flow/step"): two scopes never meet. Its
// methods are safe for concurrent use, from many processes if the store is shared, and each is atomic.
// Run leattest.AggregatorStore on your own.
//
// A group is open, then closed, then gone. It closes when it is complete or claimed; it takes no member
// after that, so what is released twice is the same both times. Errors that are neither channel.Later
// nor channel.Permanent mean that the store cannot be reached; the Aggregator waits for it.
type Store interface {
	// Add puts an entry into the open group of its key and opens one if there is none. It is idempotent
	// by Entry.UID and its cost does not grow with the store or the group. An entry that completes its
	// group closes and claims it in the same step. ErrTooManyGroups: nothing was added.
	Add(ctx context.Context, r AddRequest) (Added, error)
	// Claim takes a group for one lease: it is then the caller's alone to Release or Return. After the
	// lease it is free for the next, who gets the same group. ErrBusy: somebody holds it. ErrReleased:
	// the member's group is gone. ErrNoGroup: there is none to claim.
	Claim(ctx context.Context, r ClaimRequest) (Group, error)
	// Release removes a claimed group and remembers its members' ids. ErrLost: the claim was taken over.
	Release(ctx context.Context, r ReleaseRequest) error
	// Return gives a claim up: the group is due, and free for anyone, at once. To return what was taken
	// over or released does nothing.
	Return(ctx context.Context, g Group) error
	// Due lists the keys that have a group to claim without Early. DueRequest.All lists those with an
	// open group too. Each key is listed once, however many groups it has.
	Due(ctx context.Context, r channel.DueRequest) (channel.Due, error)
	// Open counts the groups of a scope that were opened and not released yet: for metrics.
	Open(ctx context.Context, scope string) (int64, error)
}

// The errors of a Store, matched by errors.Is.
var (
	// ErrBusy: the group is being released elsewhere, or whoever did so died less than a lease ago.
	ErrBusy = channel.Later(errors.New("group is being released elsewhere"), 0)
	// ErrLost: a claim's lease ended and another took the group over, or has released it already.
	ErrLost = channel.Later(errors.New("claim was taken over: its lease ended before the group was released"), 0)
	// ErrTooManyGroups: a member would open a group beyond Aggregator.MaxOpen.
	ErrTooManyGroups = channel.Later(errors.New("too many open groups: raise MaxOpen, set a Timeout, or set ReleaseOldest"), 0)
	// ErrNoGroup: there is no group to claim.
	ErrNoGroup = errors.New("no group to claim")
	// ErrReleased: the member whose group was to be claimed is one of a group that was released.
	ErrReleased = errors.New("group was released already")
)

// Why a group was released: the values of channel.HeaderCompleted.
const (
	CompletedBySize      = "size"
	CompletedByPredicate = "predicate"
	CompletedByTimeout   = "timeout"
	CompletedByLimit     = "limit"
	CompletedByEnd       = "end"
)

// An AddRequest adds one member. What it says of the group counts for a group that it opens; Complete,
// Idle and the limits count for the one it joins too.
type AddRequest struct {
	Scope, Key string
	Entry      channel.Entry
	Size       int           // members that complete the group; 0: any number
	Complete   bool          // this member completes the group
	Timeout    time.Duration // the group is due so long after it was opened; 0: never
	Idle       time.Duration // the group is due so long after its newest member; 0: never
	Lease      time.Duration // of the claim that a completing member makes
	// Once says that a key has one group only: a member that comes after it was closed is Late.
	Once          bool
	MaxOpen       int  // open groups of the scope; 0: any number
	ReleaseOldest bool // beyond MaxOpen the oldest group is closed and due at once (CompletedByLimit)
	MaxMembers    int  // a group that has so many members is complete (CompletedByLimit); 0: any number
	MaxBytes      int  // a group whose entries hold so much (Entry.Size) is complete; 0: any number
	// Fold, if set, makes the one entry that the store keeps of the group: of the one it has, and with
	// first true, of none. It may be called more than once for one Add; the store holds no lock in it.
	Fold func(state channel.Entry, first bool) (next channel.Entry, complete bool, err error)
}

// A State is what became of an entry that was added.
type State uint8

// The states.
const (
	// Opened: the entry is a new member of an open group.
	Opened State = iota + 1
	// Duplicate: the entry was a member of its open group before.
	Duplicate
	// Completed: the entry completed its group, and Added.Group is claimed.
	Completed
	// Closed: the entry was a member before, of a group that waits to be released. Claim it.
	Closed
	// Released: the entry was a member of a group that was released.
	Released
	// Late: the key's one group was closed without the entry; it was not added.
	Late
)

// String gives the state's name.
func (s State) String() string {
	return [...]string{"none", "opened", "duplicate", "completed", "closed", "released", "late"}[min(s, Late)]
}

// Added says what became of an entry.
type Added struct {
	State      State
	Size       int   // members of its group
	Bytes      int   // that they hold
	Generation int64 // of the group
	Group      Group // if Completed
}

// A ClaimRequest names a group: the one that Member is in, if it is closed; without Member the key's
// oldest that is closed or due.
type ClaimRequest struct {
	Scope, Key string
	Member     channel.ID
	Lease      time.Duration
	Early      bool // an open group that is not due yet as well
}

// A Group is a claimed group. Its Entries belong to the store: read them only, and not after Release or
// Return.
type Group struct {
	Scope, Key string
	// Generation tells the groups of a key apart: it grows with each and never repeats.
	Generation int64
	Entries    []channel.Entry // in the order they came; of a folded group one, what Fold made
	Size       int             // members
	Held       int             // of them, those that were added without completing the group
	Reason     string          // why it was closed, the same at every claim
	Token      uint64          // of this claim: the fence against those before it
}

// A ReleaseRequest removes a claimed group.
type ReleaseRequest struct {
	Group    Group
	Remember time.Duration // at least so long; 0: not at all
	Once     bool          // as in AddRequest: remember the key too
}
