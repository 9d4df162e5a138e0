package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/letter"
	"github.com/leat-go/leat/tracing"
)

// The headers that a dead letter has beside those of the message it is a copy of.
const (
	deadPrefix = letter.Prefix

	DeadFlow     = deadPrefix + "flow"
	DeadStep     = deadPrefix + "step"  // where it failed
	DeadScope    = deadPrefix + "scope" // "flow/step" that it arrived at: where PutBack puts it
	DeadError    = deadPrefix + "error" // one line, at most 1 KiB
	DeadClass    = deadPrefix + "class" // transient, permanent, expired, panic
	DeadAttempts = deadPrefix + "attempts"
	DeadFirst    = deadPrefix + "first"  // time of the first failure, RFC 3339
	DeadLast     = deadPrefix + "last"   // time of the last failure
	DeadTopic    = deadPrefix + "topic"  // physical, where it came from
	DeadOrigin   = deadPrefix + "origin" // as the adapter names it: topic/partition/offset, entry id
	DeadStack    = letter.Stack          // of a panic, at most 4 KiB
	DeadDirect   = deadPrefix + "direct" // "true": DeadTopic is a hop in the process, see Handle.PutBack
	DeadSize     = letter.Size           // bytes of the payload: this is a notice, no copy, and may lack some of them, and headers
	DeadSHA256   = letter.SHA256         // of the whole payload, with DeadSize
)

const deadStack = 4 << 10

// buryResult is a block's own Dead: the entries, or the message itself.
func (w *work) buryResult(e *channel.Envelope, in *inlet, r *channel.Result) error {
	if in.step.policy.DeadLetter == "" {
		return fmt.Errorf("step %s buries a message and its policy says Redeliver: %w", in.step.name, channel.ErrUndeclared)
	}
	why, entries := r.Buried()
	w.last = time.Now()
	if w.first.IsZero() {
		w.first = w.last
	}
	for i := range entries {
		w.bury(in, &entries[i], why)
	}
	if len(entries) == 0 {
		entry := e.Entry()
		w.bury(in, &entry, why)
	}
	return nil
}

// bury adds the dead letter of an entry to what leaves. It never fails: what cannot be copied whole is
// there as a notice that says so.
func (w *work) bury(in *inlet, x *channel.Entry, cause error) {
	var p []byte
	err := guard(func() (err error) {
		p, err = x.Payload()
		return err
	})
	if err != nil { // over a direct hop, a body that no codec can write
		cause = errors.Join(cause, err)
		p = []byte{}
	}
	o := w.outgoing()
	o.Context, o.Topic, o.ID, o.Key, o.Payload = w.ctx, w.flow.prefix+string(in.step.policy.DeadLetter), x.ID(), x.Key(), p
	o.Headers = slices.Concat(withoutDead(x.Headers()), w.deadHeaders(in, x, cause))
	n := w.node()
	n.letter, n.place, n.traced, o.Owner = true, in.step.letter, w.traced, n
	if w.tracer != nil {
		w.letter(o, n, x)
	}
	err = w.flow.limits.CheckFields(p, o.Headers)
	if err != nil && w.tracer != nil { // a trace is not worth a payload
		o.Headers = w.tracer.Strip(o.Headers)
		err = w.flow.limits.CheckFields(p, o.Headers)
	}
	switch {
	case err != nil:
		letter.Shrink(o)
	case w.bare:
		letter.Mark(o)
	}
}

// deadScopeAt is where deadHeaders has DeadScope.
const deadScopeAt = 2

func (w *work) deadHeaders(in *inlet, x *channel.Entry, cause error) channel.Fields {
	fs := channel.Fields{
		{Name: DeadFlow, Value: w.flow.name},
		{Name: DeadStep, Value: in.step.name},
		{Name: DeadScope, Value: in.step.scope},
		{Name: DeadError, Value: channel.Reason(cause)},
		{Name: DeadClass, Value: w.class(cause).String()},
		{Name: DeadAttempts, Value: strconv.Itoa(max(w.tries, 1))},
		{Name: DeadFirst, Value: w.first.UTC().Format(time.RFC3339Nano)},
		{Name: DeadLast, Value: w.last.UTC().Format(time.RFC3339Nano)},
	}
	topic := in.step.in
	if m := w.message(); x.UID() == m.UID() {
		topic = m.Topic()
		fs[deadScopeAt].Value = m.Scope()
		if origin, ok := w.native.(fmt.Stringer); ok {
			fs = append(fs, channel.Field{Name: DeadOrigin, Value: origin.String()})
		}
	}
	fs = append(fs, channel.Field{Name: DeadTopic, Value: w.flow.prefix + topic})
	if w.flow.direct[topic] {
		fs = append(fs, channel.Field{Name: DeadDirect, Value: "true"})
	}
	if p, ok := errors.AsType[*panicError](cause); ok {
		stack := string(p.stack[:min(len(p.stack), deadStack)])
		fs = append(fs, channel.Field{Name: DeadStack, Value: strings.ToValidUTF8(stack, "")})
	}
	return fs
}

// class names the kind of error in a dead letter.
func (w *work) class(err error) tracing.Class {
	if _, ok := errors.AsType[*panicError](err); ok {
		return tracing.ClassPanic
	}
	ctx := w.ctx
	if w.failedEnv != nil {
		ctx = w.failedEnv.Context()
	}
	switch {
	case channel.IsExpired(ctx, err):
		return tracing.ClassExpired
	case channel.IsPermanent(err):
		return tracing.ClassPermanent
	}
	return tracing.ClassTransient
}

func withoutDead(fs channel.Fields) channel.Fields {
	out := fs[:0]
	for _, f := range fs {
		if !strings.HasPrefix(f.Name, deadPrefix) && f.Name != channel.HeaderOnly && f.Name != channel.HeaderPutBack &&
			f.Name != channel.HeaderMembers && f.Name != channel.HeaderMemberCount {
			out = append(out, f)
		}
	}
	return out
}

// ErrNotDead is why a message cannot be put back: it is no dead letter, or one of which only a notice
// is left.
var ErrNotDead = errors.New("message is not a whole dead letter")

// ErrDirect is why a dead letter cannot be published: its topic is a hop in the process.
var ErrDirect = errors.New("message was on a direct topic, which no broker delivers: hand it in with Handle.PutBack")

// PutBack gives a dead letter as it was, and the topic to publish it on: for its step alone, even where
// others read that topic, with its id, key and headers.
func PutBack(letter *message.Message) (topic string, m *message.Message, err error) {
	if letter.Metadata[DeadDirect] != "" {
		return "", nil, fmt.Errorf("putting back %q on %q: %w", letter.UUID, letter.Metadata[DeadTopic], ErrDirect)
	}
	return restore(letter)
}

// PutBack processes a dead letter of this flow again, in this process, as if it had arrived at its step,
// and returns when it is settled, or dead again. It is the only way back for a message that died on a
// direct topic.
func (h *Handle) PutBack(ctx context.Context, letter *message.Message) error {
	topic, m, err := restore(letter)
	if err != nil {
		return err
	}
	scope := m.Metadata[channel.HeaderOnly]
	for _, in := range h.flow.feeds[strings.TrimPrefix(topic, h.flow.prefix)] {
		if in.step.scope != scope {
			continue
		}
		if err := h.enter(ctx, in); err != nil {
			return fmt.Errorf("putting back %q at %q: %w", m.UUID, scope, err)
		}
		defer h.leave()
		m.SetContext(ctx)
		if err := h.tel.messageWork(in, m).drive(h.pub, h.hurried); err != nil {
			return fmt.Errorf("putting back %q at %q: %w", m.UUID, scope, err)
		}
		return nil
	}
	return h.flow.errorf("putting back %q: %w: %q, on topic %q", m.UUID, ErrUnknownStep, scope, topic)
}

// restore takes the headers of its death away from a letter.
func restore(letter *message.Message) (topic string, m *message.Message, err error) {
	topic, scope := letter.Metadata[DeadTopic], letter.Metadata[DeadScope]
	switch {
	case topic == "":
		return "", nil, fmt.Errorf("putting back %q: %w: it has no header %s", letter.UUID, ErrNotDead, DeadTopic)
	case scope == "":
		return "", nil, fmt.Errorf("putting back %q: %w: it has no header %s: it died outside of a flow; publish a copy without its %s* headers to %q",
			letter.UUID, ErrNotDead, DeadScope, deadPrefix, topic)
	case letter.Metadata[DeadSize] != "":
		return "", nil, fmt.Errorf("putting back %q: %w: it is a notice, with %d of %q bytes, and may lack headers; get the message from its origin %q",
			letter.UUID, ErrNotDead, len(letter.Payload), letter.Metadata[DeadSize], letter.Metadata[DeadOrigin])
	}
	m = letter.Copy()
	m.SetContext(letter.Context())
	for k := range m.Metadata {
		if strings.HasPrefix(k, deadPrefix) {
			delete(m.Metadata, k)
		}
	}
	m.Metadata[channel.HeaderOnly] = scope
	m.Metadata[channel.HeaderPutBack] = channel.NewID().String()
	return topic, m, nil
}
