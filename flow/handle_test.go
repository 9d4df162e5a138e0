package flow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
)

// What a pause holds back is not waited for: it was not let in. Breaks if Drain waits until somebody resumes the step.
func TestDrainWaitsForNothingThatIsPaused(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		fed := channel.Topic[parcel]("fed")
		r := newRig(t, how, quick(), flow.Direct(fed), flow.Step("a", arrivals, done[parcel]()), flow.Step("b", fed, done[parcel]()))
		feed := must(flow.Into(r.h, fed))(t)
		for _, step := range []string{"a", "b"} {
			if err := r.h.Pause(step); err != nil {
				t.Fatal(err)
			}
		}
		r.give("arrivals", "", parcel{ID: "p1"})
		refused := make(chan error, 1)
		go func() { refused <- feed(context.Background(), "1", parcel{}) }()
		synctest.Wait()
		ctx, end := context.WithTimeout(t.Context(), time.Hour)
		defer end()
		if err := r.h.Drain(ctx); err != nil {
			t.Errorf("Drain gives %v", err)
		}
		if err := <-refused; !errors.Is(err, channel.ErrStopped) {
			t.Errorf("the feed gives %v", err)
		}
		r.is("a", "received=0")
	})
}

// The subscription of a paused step ends. Breaks if the flow does not, until somebody resumes it.
func TestAPausedStepEndsWithItsSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{DrainTimeout: time.Second}
		sub := b.Subscriber("f")
		h, err := mustNew(t, "f", quick(), flow.Step("a", arrivals, done[parcel]())).Start(t.Context(), b.Publisher(), sub)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := h.Pause("a"); err != nil {
			t.Fatal(err)
		}
		if err := b.Publisher().Publish("arrivals", message.NewMessage("1", []byte("{}"))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-h.Done():
		case <-time.After(time.Hour):
			t.Error("it has not ended")
			h.Stop()
		}
		_ = b.Close()
	})
}

func TestPauseAndResume(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		hop := channel.Topic[parcel]("hop")
		r := newRig(t, how, quick(), flow.Direct(hop),
			flow.Step("a", arrivals, done[parcel]()), flow.Step("b", arrivals, done[parcel]()),
			flow.Step("c", sorted, router.Filter(func(parcel) bool { return true }, hop)), flow.Step("d", hop, done[parcel]()),
			flow.Step("e", rejected, done[parcel]()))
		n := 0
		giveAll := func() {
			n++
			for _, topic := range []string{"arrivals", "sorted", "rejected"} {
				r.give(topic, "", parcel{ID: fmt.Sprint(topic, n)})
			}
			r.wait(time.Minute)
		}
		received := func(want string) {
			t.Helper()
			got := ""
			for _, step := range []string{"a", "b", "c", "d", "e"} {
				got += fmt.Sprint(step, r.count(step).Received, " ")
			}
			if strings.TrimSpace(got) != want {
				t.Errorf("received %s, want %s", got, want)
			}
		}
		giveAll()
		received("a1 b1 c1 d1 e1")
		for _, step := range []string{"b", "d", "d"} { // twice is once
			if err := r.h.Pause(step); err != nil {
				t.Fatal(err)
			}
		}
		giveAll()
		giveAll()
		// a shares its topic with b; what c would cause comes to d.
		received("a1 b1 c1 d1 e3")
		for _, step := range []string{"b", "d", "e"} { // e was not paused
			if err := r.h.Resume(step); err != nil {
				t.Fatal(err)
			}
		}
		r.wait(time.Minute)
		received("a3 b3 c3 d3 e3")
		for _, err := range []error{r.h.Pause("x"), r.h.Resume("x"), r.h.Release("x", "k")} {
			if !errors.Is(err, flow.ErrUnknownStep) || !strings.Contains(err.Error(), `"x"`) {
				t.Errorf("an unknown step: %v", err)
			}
		}
	}, claims, oneByOne, routed)
}

// A paused flow stops as well as another: nothing it holds back is lost.
func TestStopWhilePaused(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		broker := &memory.Broker{}
		t.Cleanup(func() { broker.Close() })
		step := flow.Step("a", arrivals, done[parcel]())
		r := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", quick(), step))
		if err := r.h.Pause("a"); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			r.give("arrivals", "k", parcel{ID: fmt.Sprint("p", i)})
		}
		r.wait(time.Minute)
		r.stop()
		again := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", quick(), step))
		again.wait(time.Minute)
		if c := again.count("a"); c.Received != 10 || c.Done != 10 {
			t.Errorf("after a restart: %v", c)
		}
	}, claims, oneByOne)
}

// Stop finishes what is being worked on and gives back what waits for a retry, without a dead letter.
func TestStopGivesBackWhatWaits(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		broker := &memory.Broker{}
		t.Cleanup(func() { broker.Close() })
		made := func(fails bool) *rig {
			return (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", flow.Policy{Backoff: flow.Fixed(time.Hour), DeadLetter: dead},
				flow.Step("a", arrivals, endpoint.Do(func(_ context.Context, p parcel) error {
					time.Sleep(2 * time.Second)
					if fails && p.N%2 == 0 {
						return errFlaky
					}
					return nil
				}))))
		}
		r := made(true)
		for i := range 10 {
			r.give("arrivals", fmt.Sprint(i), parcel{ID: fmt.Sprint("p", i), N: i})
		}
		time.Sleep(time.Second)
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > 10*time.Second { // keys that share a lane follow each other
			t.Errorf("stopping took %v, the work of one message 2 s", took)
		}
		r.is("a", "received=5 done=5 retries=5 returned=5")
		again := made(false)
		again.wait(time.Minute)
		if c := again.count("a"); c.Done != 5 || c.Dead != 0 {
			t.Errorf("after a restart: %v", c)
		}
		if n := len(r.on("dead")) + len(again.on("dead")); n != 0 {
			t.Errorf("%d healthy messages in the dead letter", n)
		}
	}, claims, oneByOne)
}

// Who does not come back when the flow stops is let go after the broker's drain time: its context ends
// and says why, and the message comes again.
func TestStopLetsGoOfAHungBlock(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		broker := &memory.Broker{DrainTimeout: 5 * time.Second}
		t.Cleanup(func() { broker.Close() })
		var why error
		hangs := func(ctx context.Context, _ parcel) error {
			<-ctx.Done()
			why = context.Cause(ctx)
			return ctx.Err()
		}
		r := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", quick(), flow.Step("a", arrivals, endpoint.Do(hangs))))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		began := time.Now()
		r.stop()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("stopping took %v, want the 5 s of DrainTimeout", took)
		}
		if !errors.Is(why, channel.ErrStopped) {
			t.Errorf("its context ended with %v", why)
		}
		r.is("a", "received=0 returned=1")
		again := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", quick(), flow.Step("a", arrivals, done[parcel]())))
		again.wait(time.Minute)
		if c := again.count("a"); c.Done != 1 {
			t.Errorf("after a restart: %v", c)
		}
	}, claims)
}

// packer aggregates without an end of its own: only Drain or Release completes its groups.
func packer(store aggregator.Store, onDrain bool) *aggregator.Aggregator[parcel, []string] {
	a := parcelsOf(100, store)
	a.Timeout, a.CompleteOnDrain = 24*time.Hour, onDrain
	return a
}

// Drain waits for retries, then fires the clocks that say AtEnd, then those that these fill. Breaks if it does not
// wait for a router's handlers: what they are at ends in groups that nobody releases any more.
func TestDrain(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		pallets := channel.Topic[[]string]("pallets")
		last := &aggregator.Aggregator[[]string, int]{
			Correlate: func([]string) string { return "all" },
			Combine:   func(_ string, ps [][]string) (int, error) { return len(ps), nil },
			To:        "count", Store: &aggregator.Memory{}, CompleteOnDrain: true,
		}
		keeps := packer(&aggregator.Memory{}, false)
		keeps.To = "kept"
		r := newRig(t, how, quick(), flow.Direct(sorted, pallets),
			flow.Step("flaky", arrivals, block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
				if m.Attempt() < 3 {
					return channel.Result{}, errFlaky
				}
				return channel.Send(channel.Forward(sorted, m)), nil
			}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted)}}}),
			flow.Step("pack", sorted, packer(&aggregator.Memory{}, true)),
			flow.Step("count", pallets, last),
			flow.Step("keep", sorted, keeps))
		for i := range 30 {
			r.give("arrivals", fmt.Sprint(i), parcel{ID: fmt.Sprint("p", i), Kind: fmt.Sprint(i % 3)})
		}
		synctest.Wait()
		if err := r.h.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.is("flaky", "received=30 sent=30 retries=60")
		r.is("pack", "received=30 held=30 released=30 fired=3")
		r.is("count", "received=3 held=3 released=3 fired=1")
		r.is("keep", "received=30 held=30")
		if got := r.on("count"); len(got) != 1 || got[0].Payload != "3" || got[0].Headers[channel.HeaderCompleted] != aggregator.CompletedByEnd {
			t.Errorf("in the end came %v", got)
		}
		select {
		case <-r.h.Done():
		default:
			t.Error("a drained flow is not done")
		}
	}, claims, oneByOne, routed)
}

// A drain that takes too long gives back what is left and says so.
func TestDrainThatTakesTooLong(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		broker := &memory.Broker{DrainTimeout: 24 * time.Hour}
		t.Cleanup(func() { broker.Close() })
		r := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", flow.Policy{Backoff: flow.Fixed(time.Hour), DeadLetter: dead},
			flow.Step("a", arrivals, endpoint.Do(func(context.Context, parcel) error { return errFlaky }))))
		r.give("arrivals", "", parcel{ID: "p1"})
		synctest.Wait()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("enough"))
		defer cancel()
		began := time.Now()
		err := r.h.Drain(ctx)
		if err == nil || !strings.Contains(err.Error(), "flow f: draining: enough") || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		r.is("a", "received=0 retries=1 returned=1")
	}, claims, oneByOne)
}

func TestRelease(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		store := packer(&aggregator.Memory{}, false)
		r := newRig(t, how, quick(), flow.Step("pack", arrivals, store), flow.Step("other", sorted, done[parcel]()))
		r.give("arrivals", "", parcel{ID: "p1", Kind: "red"})
		r.wait(time.Minute)
		if err := r.h.Release("other", "red"); err == nil || !strings.Contains(err.Error(), "step other has no clock") {
			t.Errorf("a step without time: %v", err)
		}
		if err := r.h.Release("pack", "red"); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Minute)
		if got := r.on("pallets"); len(got) != 1 || got[0].Payload != `["p1"]` {
			t.Errorf("released: %v, %v", got, r.count("pack"))
		}
		if err := r.h.Release("pack", "nothing here"); err != nil {
			t.Errorf("a key that has no group: %v", err)
		}
	}, claims, routed)
}

// A flow whose subscription ends by itself ends too and says which.
func TestASubscriptionThatEndsEndsTheFlow(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Step("a", arrivals, done[parcel]()))
		r.Broker.Close()
		<-r.h.Done()
		if err := r.h.Err(); !errors.Is(err, adapters.ErrClosed) || !strings.Contains(err.Error(), "arrivals") {
			t.Errorf("it ended with %v", err)
		}
	}, claims, oneByOne)
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &memory.Broker{}
		defer broker.Close()
		f := mustNew(t, "f", quick(), flow.Step("a", arrivals, done[parcel]()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Run(ctx, broker.Publisher(), broker.Subscriber("f")); err != nil {
			t.Error(err)
		}
		if f.Name() != "f" {
			t.Error(f.Name())
		}
	})
}

// Feeds and sources are refused once the flow stops, and those inside are waited for.
func TestFeedsAndStop(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Step("a", arrivals, endpoint.Do(func(context.Context, parcel) error {
			time.Sleep(time.Minute)
			return nil
		})))
		feed := must(flow.Into(r.h, arrivals))(t)
		got := make(chan error, 1)
		go func() { got <- feed(context.Background(), "p1", parcel{ID: "p1"}) }()
		synctest.Wait()
		r.stop()
		if err := <-got; err != nil {
			t.Errorf("who was inside got %v", err)
		}
		if err := feed(context.Background(), "p2", parcel{}); !errors.Is(err, channel.ErrStopped) {
			t.Errorf("who came after got %v", err)
		}
		r.is("a", "received=1 done=1")
	}, claims, routed)
}

func TestIntoRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, claims, quick(), flow.Step("a", arrivals, done[parcel]()))
		if _, err := flow.Into(r.h, sorted); err == nil || !strings.Contains(err.Error(), "sorted: no step reads it") {
			t.Errorf("a topic nobody reads: %v", err)
		}
		if _, err := flow.Into(r.h, channel.Topic[sticker]("arrivals")); err == nil || !strings.Contains(err.Error(), "step a reads flow_test.parcel there, not flow_test.sticker") {
			t.Errorf("another type: %v", err)
		}
	})
}

// A subscription lets go before a retry is due. Breaks if Drain says that all is done, when a message was given back.
func TestDrainTellsOfWhatWasGivenBack(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		broker := &memory.Broker{DrainTimeout: time.Minute}
		t.Cleanup(func() { broker.Close() })
		r := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", flow.Policy{Backoff: flow.Fixed(time.Hour), DeadLetter: dead},
			flow.Step("a", arrivals, endpoint.Do(func(_ context.Context, p parcel) error {
				if p.ID == "p1" {
					return errFlaky
				}
				return nil
			}))))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.give("arrivals", "", parcel{ID: "p2"})
		synctest.Wait()
		err := r.h.Drain(t.Context())
		if !errors.Is(err, flow.ErrGivenBack) || !strings.Contains(err.Error(), "flow f: draining: 1 messages") {
			t.Errorf("Drain gives %v", err)
		}
		r.is("a", "received=1 done=1 retries=1 returned=1")
	}, claims)
}

// A subscription lets go while a block is still at work: what it has done comes again. Breaks if Drain says nothing of that.
func TestDrainTellsOfWhatWasLate(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		broker := &memory.Broker{DrainTimeout: time.Second}
		t.Cleanup(func() { broker.Close() })
		r := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", quick(),
			flow.Step("a", arrivals, endpoint.Do(func(context.Context, parcel) error {
				time.Sleep(10 * time.Second)
				return nil
			}))))
		r.give("arrivals", "", parcel{ID: "p1"})
		synctest.Wait()
		if err := r.h.Drain(t.Context()); !errors.Is(err, flow.ErrGivenBack) || !strings.Contains(err.Error(), "draining: 1 messages") {
			t.Errorf("Drain gives %v", err)
		}
		if n := broker.Subscriber("f").Lag("arrivals"); n != 1 {
			t.Errorf("%d messages are left", n)
		}
	}, claims)
}

// A store panics, asked what still waits at the end. Breaks if the process dies of it.
func TestDrainOutlivesAStore(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		bomb := bell(func(_ context.Context, q channel.DueRequest) (channel.Due, error) {
			if q.All {
				panic("a bomb in the store")
			}
			return channel.Due{Changed: make(chan struct{})}, nil
		}, nil)
		bomb.shape.Inlets[0].Clock.AtEnd = true
		r := newRig(t, how, quick(), flow.Step("a", arrivals, bomb))
		if err := r.h.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "a bomb in the store") || !strings.Contains(err.Error(), "step a") {
			t.Errorf("Drain gives %v", err)
		}
	}, claims, routed)
}
