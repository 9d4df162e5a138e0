package flow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

const words channel.Topic[string] = "words"

// begin starts a flow on a broker of its own; what it returns stops both.
func begin(t *testing.T, b *memory.Broker, parts ...flow.Part) (*flow.Handle, func()) {
	t.Helper()
	h, err := mustNew(t, "f", parts...).Start(t.Context(), b.Publisher(), b.Subscriber("f"))
	if err != nil {
		t.Fatal(err)
	}
	return h, func() {
		h.Stop()
		_ = b.Close()
	}
}

func inTime(t *testing.T, what string, f func()) {
	t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	select {
	case <-over:
	case <-time.After(time.Hour): // virtual
		t.Fatalf("%s has not returned after an hour", what)
	}
}

// A feed waits on its caller's goroutine; that of a flow that stops must not wait for ever.
func TestStopEndsFeedsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{Bound: 1}
		h, stop := begin(t, b,
			flow.Step("never", words, endpoint.Do(func(context.Context, string) error { return errors.New("no") })),
			flow.Step("full", channel.Topic[string]("full"), endpoint.Call(func(_ context.Context, s string) (string, error) { return s, nil }, channel.Topic[string]("out"))),
			flow.Policy{Redeliver: true, Backoff: flow.Fixed(time.Second)})
		never, full := into(t, h, words), into(t, h, channel.Topic[string]("full"))
		if err := full(t.Context(), "0", "x"); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 2)
		go func() { ended <- never(context.Background(), "1", "x") }()
		go func() { ended <- full(context.Background(), "2", "x") }() // nobody reads out, which holds one
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		inTime(t, "Drain", func() {
			err := h.Drain(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 at step never, 1 at step full") {
				t.Errorf("Drain gives %v", err)
			}
		})
		for range 2 {
			if err := <-ended; !errors.Is(err, channel.ErrStopped) {
				t.Errorf("a feed ended with %v, want ErrStopped", err)
			}
		}
		balanced(t, h)
		stop()
	})
}

func TestPauseHoldsFeedsAndClocks(t *testing.T) {
	const out channel.Topic[string] = "out"
	synctest.Test(t, func(t *testing.T) {
		n := 0
		h, stop := begin(t, &memory.Broker{},
			flow.Step("agg", words, &aggregator.Aggregator[string, string]{
				Correlate: func(s string) string { return s }, Combine: func(k string, _ []string) (string, error) { return k, nil },
				To: out, Timeout: time.Minute, Store: &aggregator.Memory{},
			}),
			flow.Step("do", out, endpoint.Do(func(context.Context, string) error { n++; return nil })),
			flow.Direct(words, out), flow.Policy{DeadLetter: "dead"})
		feed := into(t, h, words)
		if err := feed(t.Context(), "1", "x"); err != nil {
			t.Fatal(err)
		}
		if err := h.Pause("do"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := feed(ctx, "2", "y"); !errors.Is(err, context.DeadlineExceeded) || n != 0 {
			t.Errorf("paused: %d done, the feed gave %v", n, err)
		}
		if err := h.Resume("do"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n != 1 {
			t.Errorf("resumed: %d done, want the group that was due", n)
		}
		stop()
	})
}

// A flow in a router that was drained takes nothing more, and leaves no group behind.
func TestDrainInARouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		r := message.NewDefaultRouter(watermill.NopLogger{})
		h, err := mustNew(t, "f", flow.Step("agg", words, &aggregator.Aggregator[string, string]{
			Correlate: func(s string) string { return s }, Combine: func(k string, _ []string) (string, error) { return k, nil },
			To: "out", CompleteOnDrain: true, Store: &aggregator.Memory{},
		}), flow.Policy{Redeliver: true}).AddTo(r, b.Publisher(), b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan error, 1)
		go func() { over <- r.Run(context.Background()) }()
		<-r.Running()
		publish := func(id string) {
			if err := b.Publisher().Publish("words", message.NewMessage(id, []byte(`"x"`))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		publish("1")
		if err := h.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		publish("2")
		if c := h.Counts()["agg"]; c.Received != 1 || c.Released != 1 {
			t.Errorf("after Drain: %v", c)
		}
		select {
		case <-h.Done():
		default:
			t.Error("Done is open after Drain")
		}
		_ = r.Close()
		if err := <-over; err != nil {
			t.Error(err)
		}
		_ = b.Close()
	})
}

// A second way in whose messages die is where they are put back.
type twoWays struct{ got *[]string }

func (x twoWays) Process(m channel.Message[string]) (channel.Result, error) {
	*x.got = append(*x.got, "first "+m.Body)
	return channel.Done(), nil
}

func (x twoWays) Shape() channel.Shape {
	return channel.Shape{Pattern: "Two Ways", Inlets: []channel.Inlet{channel.In("second", channel.Topic[string]("second"),
		func(m channel.Message[string]) (channel.Result, error) {
			*x.got = append(*x.got, "second "+m.Body)
			if len(*x.got) == 1 {
				return channel.Result{}, channel.Permanent(errors.New("no"))
			}
			return channel.Done(), nil
		})}}
}

func TestPutBackAtASecondInlet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		letters, err := b.Subscriber("desk").Subscribe(t.Context(), "dead")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		h, stop := begin(t, b, flow.Step("two", words, twoWays{&got}), flow.Policy{DeadLetter: "dead"})
		if err := b.Publisher().Publish("second", message.NewMessage("1", []byte(`"x"`))); err != nil {
			t.Fatal(err)
		}
		letter := <-letters
		letter.Ack()
		if err := h.PutBack(t.Context(), letter); err != nil || strings.Join(got, ", ") != "second x, second x" {
			t.Errorf("%v: %v", got, err)
		}
		stop()
	})
}

// preset is a subscriber with several messages in flight.
type preset chan *message.Message

func (p preset) Subscribe(context.Context, string) (<-chan *message.Message, error) { return p, nil }
func (preset) Close() error                                                         { return nil }

// What comes behind a message of its key that is given back is given back too: worked on, it would be
// before it. When it comes again it is not.
func TestGivenBackIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		sub := make(preset, 3)
		first, cancel := context.WithCancel(t.Context())
		var ms []*message.Message
		for _, id := range []string{"1", "2", "3"} {
			m := message.NewMessage(id, []byte(`"`+id+`"`))
			m.Metadata[channel.HeaderKey] = map[string]string{"1": "k", "2": "k", "3": "other"}[id]
			m.SetContext(t.Context())
			ms = append(ms, m)
			sub <- m
		}
		ms[0].SetContext(first)
		var worked []string
		h, err := mustNew(t, "f", flow.Step("do", words, endpoint.Do(func(ctx context.Context, x string) error {
			worked = append(worked, x)
			if x == "1" {
				cancel()
				return ctx.Err()
			}
			return nil
		}), flow.Workers(1)), flow.Policy{DeadLetter: "dead"}).Start(t.Context(), b.Publisher(), sub)
		if err != nil {
			t.Fatal(err)
		}
		<-ms[0].Nacked()
		<-ms[1].Nacked()
		<-ms[2].Acked()
		again := ms[1].Copy()
		again.SetContext(t.Context())
		sub <- again
		synctest.Wait()
		if got := fate(again); got != "acknowledged" || strings.Join(worked, " ") != "1 3 2" {
			t.Errorf("worked on %v, and what came again is %s", worked, got)
		}
		close(sub)
		h.Stop()
		_ = b.Close()
	})
}

// What is given back leaves its lane: a key that comes after it does not wait for another while a lane is free.
func TestGivenBackFreesItsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		sub := make(preset, 1)
		open := make(chan struct{})
		h, err := mustNew(t, "f", flow.Step("do", words, endpoint.Do(func(ctx context.Context, x string) error {
			if x == "slow" {
				<-open
			}
			return ctx.Err()
		}), flow.Workers(2)), flow.Policy{DeadLetter: "dead"}).Start(t.Context(), b.Publisher(), sub)
		if err != nil {
			t.Fatal(err)
		}
		give := func(ctx context.Context, x string) *message.Message {
			m := message.NewMessage(x, []byte(`"`+x+`"`))
			m.Metadata[channel.HeaderKey] = x
			m.SetContext(ctx)
			sub <- m
			synctest.Wait()
			return m
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for range 5 {
			if got := fate(give(over, "gone")); got != "given back" {
				t.Fatalf("a message whose context has ended is %s", got)
			}
		}
		give(t.Context(), "slow")
		if got := fate(give(t.Context(), "quick")); got != "acknowledged" {
			t.Errorf("beside a slow one, with a lane free, it is %s", got)
		}
		close(open)
		synctest.Wait()
		close(sub)
		h.Stop()
		_ = b.Close()
	})
}

func TestNilPointersAndSecondPoliciesAreRefused(t *testing.T) {
	var groups *aggregator.Memory
	var seen *idempotency.Memory
	_, err := flow.New("f",
		flow.Step("agg", words, &aggregator.Aggregator[string, string]{
			Correlate: func(s string) string { return s }, Combine: func(k string, _ []string) (string, error) { return k, nil },
			To: "out", Size: 3, Store: groups,
		}, flow.Around(idempotency.Receiver{Store: seen})),
		flow.Policy{DeadLetter: "dead"}, flow.Policy{Redeliver: true})
	for _, want := range []string{"Aggregator.Store is nil", "Receiver.Store", "two policies"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New gives %v, want it to say %q", err, want)
		}
	}
}

// A retry without a pause sees that the flow stops; for ever and without a pause is refused.
func TestRetriesWithoutAPause(t *testing.T) {
	never := endpoint.Do(func(context.Context, string) error { return errors.New("no") })
	_, err := flow.New("f", flow.Step("never", words, never), flow.Policy{Redeliver: true, Backoff: flow.Fixed(0)})
	if err == nil || !strings.Contains(err.Error(), "would spin") {
		t.Errorf("New gives %v", err)
	}
	_, err = flow.New("f", flow.Step("never", words, never), flow.Policy{Redeliver: true, Rules: []flow.Rule{{
		When: func(error) bool { return true }, Backoff: flow.Fixed(0),
	}}})
	if err == nil || !strings.Contains(err.Error(), "would spin") {
		t.Errorf("New gives %v for a rule", err)
	}
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		var h *flow.Handle
		h, stop := begin(t, &memory.Broker{}, flow.Step("never", words, endpoint.Do(func(context.Context, string) error {
			if tried++; tried == 3 {
				go h.Stop()
				synctest.Wait()
			}
			return errors.New("no")
		})), flow.Direct(words), flow.Policy{Attempts: 1000, Backoff: flow.Fixed(0), DeadLetter: "dead"})
		if err := into(t, h, words)(t.Context(), "1", "x"); !errors.Is(err, channel.ErrStopped) || tried != 3 {
			t.Errorf("%v after %d tries, want ErrStopped after 3", err, tried)
		}
		stop()
	})
}
