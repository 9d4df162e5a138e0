package kafka

import (
	"context"
	"time"

	"github.com/leat-go/leat/adapters"
)

// A claimContext is the context of a claim: it ends, with a cause, when ownership is lost.
type claimContext struct {
	context.Context //nolint:containedctx // This is a context.
}

type claimKey struct{}

// Value gives the context itself for claimKey, else what the subscription's context has.
func (c *claimContext) Value(key any) any {
	if key == (claimKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// The keys under which the context of a message delivered by Subscribe has what the record says.
type (
	partitionKey struct{}
	offsetKey    struct{}
	timestampKey struct{}
	recordKey    struct{}
)

// MessagePartitionFromCtx gives the partition that a delivered message came from. False: it is not the context of one.
func MessagePartitionFromCtx(ctx context.Context) (int32, bool) {
	v, ok := ctx.Value(partitionKey{}).(int32)
	return v, ok
}

// MessagePartitionOffsetFromCtx gives the offset of a delivered message in its partition. False: it is not the context of one.
func MessagePartitionOffsetFromCtx(ctx context.Context) (int64, bool) {
	v, ok := ctx.Value(offsetKey{}).(int64)
	return v, ok
}

// MessageTimestampFromCtx gives the time of a delivered message's record: that of its making or of its writing, as
// the topic says. False: it is not the context of one.
func MessageTimestampFromCtx(ctx context.Context) (time.Time, bool) {
	v, ok := ctx.Value(timestampKey{}).(time.Time)
	return v, ok
}

// MessageKeyFromCtx gives the key of a delivered message's record, empty for none. False: it is not the context of one.
func MessageKeyFromCtx(ctx context.Context) ([]byte, bool) {
	v, ok := keyFromCtx(ctx)
	return []byte(v), ok
}

func keyFromCtx(ctx context.Context) (string, bool) {
	v, ok := ctx.Value(recordKey{}).(string)
	return v, ok
}

// RedeliveredFromCtx reports that a delivered message may have been delivered before: it was nacked, or an owner of its
// partition ended without committing what it had finished, and it lies within that owner's window. What is not so
// marked was delivered to nobody before, as long as all members of the group are of this package.
func RedeliveredFromCtx(ctx context.Context) bool {
	v, _ := ctx.Value(adapters.RedeliveredKey{}).(bool)
	return v
}
