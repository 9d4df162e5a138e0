package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/translator"
)

// A bank stands between a flow that is ExactlyOnce and its broker: it notes what is committed and fails
// what it is told to.
type bank struct {
	*memory.Publisher

	mu     sync.Mutex
	fail   func(call int, finished []adapters.Finished, outs []*adapters.Outgoing) error // nil: nothing fails
	took   time.Duration                                                                 // of a commit
	calls  int
	closed error // why there are no transactions
	log    []booking
}

// A booking is one transaction: ids.
type booking struct{ finished, outs []string }

func (b *bank) Recover(context.Context, []message.Subscriber) error { return b.closed }

func (b *bank) Transact(ctx context.Context, finished []adapters.Finished, outs []*adapters.Outgoing) error {
	b.mu.Lock()
	b.calls++
	call, fail := b.calls, b.fail
	b.mu.Unlock()
	if b.took > 0 {
		select {
		case <-time.After(b.took):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if fail != nil {
		if err := fail(call, finished, outs); err != nil {
			return err
		}
	}
	if err := b.Publisher.Transact(ctx, finished, outs); err != nil {
		return err
	}
	var x booking
	for _, f := range finished {
		for i := range f.Records {
			x.finished = append(x.finished, f.Records[i].ID)
		}
	}
	for _, o := range outs {
		x.outs = append(x.outs, o.ID)
	}
	b.mu.Lock()
	b.log = append(b.log, x)
	b.mu.Unlock()
	return nil
}

// Send is not used: what goes out does so in a transaction.
func (b *bank) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	for _, o := range outs {
		o.Err = errors.New("sent without a transaction")
	}
	done(outs)
}

func (b *bank) Publish(string, ...*message.Message) error {
	return errors.New("published without a transaction")
}

func (b *bank) bookings() []booking {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.log)
}

// A vault is a flow that is ExactlyOnce, on a broker in memory.
type vault struct {
	*bank

	T      *testing.T
	Broker *memory.Broker
	Name   string // "": f
	Sub    func(message.Subscriber) message.Subscriber

	flow *flow.Flow
	h    *flow.Handle
	stop func() // may be called again
}

func (v *vault) run(parts ...flow.Part) *vault {
	v.T.Helper()
	if v.Broker == nil {
		v.Broker = &memory.Broker{}
		v.T.Cleanup(func() { v.Broker.Close() })
	}
	if v.bank == nil {
		v.bank = &bank{}
	}
	if v.Name == "" {
		v.Name = "f"
	}
	v.Publisher = v.Broker.Publisher()
	var sub message.Subscriber = v.Broker.Subscriber(v.Name)
	if v.Sub != nil {
		sub = v.Sub(sub)
	}
	v.flow = mustNew(v.T, v.Name, append(parts, flow.ExactlyOnce())...)
	v.h = must(v.flow.Start(context.Background(), v.bank, sub))(v.T)
	var once sync.Once
	h := v.h
	v.stop = func() { once.Do(h.Stop) }
	v.T.Cleanup(func() {
		v.stop()
		balanced(v.T, h)
	})
	return v
}

func (v *vault) give(topic, key string, ids ...string) {
	v.T.Helper()
	for _, id := range ids {
		m := message.NewMessage(id, must(json.Marshal(parcel{ID: id}))(v.T))
		if key != "" {
			m.Metadata[channel.HeaderKey] = key
		}
		if err := v.Broker.Publisher().Publish(topic, m); err != nil {
			v.T.Fatal(err)
		}
	}
}

// on reads what is on a topic, and leaves it there.
func (v *vault) on(topic string) (ms []sent) {
	v.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() {
		over <- v.Broker.Subscriber("").Claim(ctx, []string{topic}, func(c adapters.Claim) {
			for {
				rs, err := c.Next(make([]*adapters.Record, 0, 1000))
				for i := range rs {
					s := sent{topic, rs[i].ID, rs[i].Key, string(rs[i].Payload), map[string]string{}}
					maps.Insert(s.Headers, rs[i].Headers.All())
					ms = append(ms, s)
				}
				if err != nil {
					return
				}
			}
		})
	}()
	synctest.Wait()
	cancel()
	if err := <-over; err != nil {
		v.T.Fatal(err)
	}
	return ms
}

// parcels lists the parcels whose stickers are on a topic.
func (v *vault) parcels(topic string) (ids []string) {
	v.T.Helper()
	for _, s := range v.on(topic) {
		var x sticker
		if err := json.Unmarshal([]byte(s.Payload), &x); err != nil {
			v.T.Fatal(err)
		}
		ids = append(ids, x.Parcel)
	}
	return ids
}

func (*vault) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (v *vault) left(topic string) int64 { return v.Broker.Subscriber(v.Name).Lag(topic) }

func (v *vault) is(step, want string) {
	v.T.Helper()
	if got := v.h.Counts()[step].String(); got != want {
		v.T.Errorf("step %s\n got %s\nwant %s", step, got, want)
	}
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// numbered gives p<from> to p<to>.
func numbered(from, to int) (ids []string) {
	for i := from; i <= to; i++ {
		ids = append(ids, fmt.Sprint("p", i))
	}
	return ids
}

// A caller is a pure block that notes its calls and fails as it is told.
type caller struct {
	mu    sync.Mutex
	calls map[string]int
	fail  func(id string, attempt int) error
}

func (c *caller) block() block[parcel] {
	return block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.calls == nil {
			c.calls = map[string]int{}
		}
		c.calls[m.Body.ID]++
		if c.fail != nil {
			if err := c.fail(m.Body.ID, m.Attempt()); err != nil {
				return channel.Result{}, err
			}
		}
		return channel.Send(channel.To(stickers, sticker{Parcel: m.Body.ID})), nil
	}, channel.Shape{Pattern: "Caller", Outlets: []channel.Outlet{channel.Out("", stickers)}}}
}

func (c *caller) called(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[id]
}

// The third of ten waits for a retry: the two before it are committed at once, those behind it are
// computed once, and committed after it, in their order and under the ids they always have.
func TestExactlyOnceCommitsThePrefix(t *testing.T) {
	for _, key := range []string{"", "k"} {
		for _, workers := range []int{1, 4} {
			for _, wait := range []error{errFlaky, channel.Later(errFlaky, time.Second)} {
				t.Run(fmt.Sprintf("key %q, %d workers, %v", key, workers, wait), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { prefix(t, key, workers, wait) })
				})
			}
		}
	}
}

func prefix(t *testing.T, key string, workers int, wait error) {
	t.Helper()
	failed := false
	c := &caller{fail: func(id string, _ int) error {
		if id == "p3" && !failed {
			failed = true
			return wait
		}
		return nil
	}}
	v := &vault{T: t}
	v.run(quick(), flow.Workers(workers), flow.Step("a", arrivals, c.block()))
	began := time.Now()
	v.give("arrivals", key, numbered(1, 10)...)
	v.wait(500 * time.Millisecond)
	equal(t, "while the third waits", v.parcels("stickers"), []string{"p1", "p2"})
	if n := v.left("arrivals"); n != 8 {
		t.Errorf("%d are not acknowledged while the third waits, want 8", n)
	}
	if got := v.h.Counts()["a"]; got.InFlight != 8 || got.Sent != 2 {
		t.Errorf("while the third waits: %v", got)
	}
	if key == "" && c.called("p10") != 1 {
		t.Error("what is behind is not computed meanwhile")
	}
	v.wait(501 * time.Millisecond)
	equal(t, "after", v.parcels("stickers"), numbered(1, 10))
	if n := v.left("arrivals"); n != 0 {
		t.Errorf("%d are not acknowledged", n)
	}
	for _, id := range numbered(1, 10) {
		want := 1
		if id == "p3" {
			want = 2
		}
		if n := c.called(id); n != want {
			t.Errorf("%s was computed %d times, want %d", id, n, want)
		}
	}
	for _, b := range v.bookings() {
		if len(b.finished) != len(b.outs) {
			t.Errorf("a transaction finishes %v and sends %v", b.finished, b.outs)
		}
	}
	if d := time.Since(began); d > 1100*time.Millisecond {
		t.Errorf("it took %v", d)
	}
	// The same without transactions has the same ids.
	other := newRig(t, claims, quick(), flow.Step("a", arrivals, (&caller{}).block()))
	for _, id := range numbered(1, 10) {
		other.give("arrivals", key, parcel{ID: id})
	}
	other.wait(time.Second)
	var got, want []string
	for i, s := range v.on("stickers") {
		got, want = append(got, s.ID+s.Payload), append(want, other.on("stickers")[i].ID+other.on("stickers")[i].Payload)
	}
	slices.Sort(got)
	slices.Sort(want)
	equal(t, "ids", got, want)
}

// What fails for good is in the dead letter in the transaction that finishes it, with what succeeds.
func TestExactlyOnceBuriesInTheTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{fail: func(id string, _ int) error {
			switch id {
			case "p2":
				return channel.Permanent(errFlaky)
			case "p4":
				return errFlaky
			}
			return nil
		}}
		v := (&vault{T: t}).run(quick(), flow.Step("a", arrivals, c.block()))
		v.give("arrivals", "", numbered(1, 5)...)
		v.wait(time.Minute)
		equal(t, "sent", v.parcels("stickers"), []string{"p1", "p3", "p5"})
		var letters []string
		for _, s := range v.on("dead") {
			letters = append(letters, s.ID+" "+s.Headers[flow.DeadAttempts])
		}
		equal(t, "dead", letters, []string{"p2 1", "p4 3"})
		for _, b := range v.bookings() {
			for _, id := range []string{"p2", "p4"} {
				if slices.Contains(b.finished, id) != slices.Contains(b.outs, id) {
					t.Errorf("the letter of %s and its acknowledgement are two transactions: %v", id, v.bookings())
				}
			}
		}
		v.is("a", "received=5 sent=3 dead=2 retries=2")
	})
}

// A transaction that fails is tried again as it is; nothing is seen of it before, and nothing is computed
// again.
func TestExactlyOnceTriesTheTransactionAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{}
		v := &vault{T: t, bank: &bank{}}
		var at []time.Duration
		began := time.Now()
		v.fail = func(call int, _ []adapters.Finished, _ []*adapters.Outgoing) error {
			at = append(at, time.Since(began).Round(10*time.Millisecond))
			if call <= 5 {
				return errWire
			}
			return nil
		}
		v.run(quick(), flow.Step("a", arrivals, c.block()), flow.Step("b", sorted, translator.Map(stick, stickers)))
		v.give("arrivals", "", numbered(1, 20)...)
		v.wait(300 * time.Millisecond)
		if got := v.on("stickers"); len(got) != 0 || v.left("arrivals") != 20 {
			t.Errorf("while it fails %d are out, and %d are left", len(got), v.left("arrivals"))
		}
		v.wait(time.Minute)
		equal(t, "sent", v.parcels("stickers"), numbered(1, 20))
		for _, id := range numbered(1, 20) {
			if n := c.called(id); n != 1 {
				t.Errorf("%s was computed %d times", id, n)
			}
		}
		v.is("a", "received=20 sent=20")
		for i := 2; i < 5; i++ {
			if at[i]-at[i-1] < at[i-1]-at[i-2] {
				t.Errorf("tries at %v: pauses do not grow", at)
			}
		}
	})
}

// A message that the broker refuses for good dies; the others of its transaction go on at once. A letter
// that is refused is made a notice, and a reply beside it is left out.
func TestExactlyOnceRefusedByTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		huge := strings.Repeat("x", 10_000)
		b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			s := sticker{Parcel: m.Body.ID}
			if m.Body.ID == "p3" {
				s.Parcel = huge
			}
			return channel.Send(channel.To(stickers, s)), nil
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", stickers)}}}
		v := &vault{T: t, Broker: &memory.Broker{Limits: channel.Limits{Body: 9000}}}
		defer v.Broker.Close()
		v.run(quick(), flow.Step("a", arrivals, b))
		began := time.Now()
		v.give("arrivals", "", numbered(1, 5)...)
		v.wait(0)
		v.wait(3 * time.Millisecond)
		equal(t, "sent", v.parcels("stickers"), []string{"p1", "p2", "p4", "p5"})
		letters := v.on("dead")
		if len(letters) != 1 || letters[0].ID != "p3" || !strings.Contains(letters[0].Headers[flow.DeadError], channel.ErrTooLarge.Error()) {
			t.Errorf("dead letters %v", letters)
		}
		if d := time.Since(began); d > 10*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		v.is("a", "received=5 sent=4 dead=1")
		v.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{}}
		v.fail = func(_ int, _ []adapters.Finished, outs []*adapters.Outgoing) (err error) {
			for _, o := range outs {
				if o.Topic == "dead" && len(o.Payload) > 5000 {
					o.Err = channel.ErrTooLarge
					err = o.Err
				}
			}
			return err
		}
		v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
		if err := v.Broker.Publisher().Publish("arrivals", message.NewMessage("p1", []byte(strings.Repeat("x", 6000)))); err != nil {
			t.Fatal(err)
		}
		v.give("arrivals", "", "p2")
		v.wait(time.Minute)
		letters := v.on("dead")
		if len(letters) != 1 || letters[0].Headers[flow.DeadSize] != "6000" {
			t.Errorf("dead letters: %v", letters)
		}
		equal(t, "sent", v.parcels("stickers"), []string{"p2"})
		v.is("a", "received=2 sent=1 dead=1")
	})
	synctest.Test(t, func(t *testing.T) { // a reply of Failed: its message is buried without it
		v := &vault{T: t, Broker: &memory.Broker{Limits: channel.Limits{Body: 9000}}}
		defer v.Broker.Close()
		v.run(quick(), flow.Step("a", arrivals, fails(stickers, func() channel.Result {
			return channel.Send(channel.To(stickers, sticker{Parcel: strings.Repeat("x", 10_000)}))
		})))
		v.give("arrivals", "k", "bad", "good")
		v.wait(time.Minute)
		letters := v.on("dead")
		if len(letters) != 1 || letters[0].ID != "bad" || !strings.Contains(letters[0].Headers[flow.DeadError], channel.ErrTooLarge.Error()) {
			t.Errorf("dead letters %v", letters)
		}
		v.is("a", "received=2 done=1 dead=1")
		v.stop()
	})
}

// A refusal is of its own message, whatever was committed before it; and a commit that succeeds forgets the
// failures before it, so that Stop commits what is computed.
func TestExactlyOnceRefusedBehindACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{fail: func(id string, attempt int) error {
			if id == "p3" && attempt == 1 {
				return errFlaky
			}
			return nil
		}}
		v := &vault{T: t, bank: &bank{}}
		v.fail = func(call int, finished []adapters.Finished, outs []*adapters.Outgoing) error {
			if call == 1 {
				return errWire
			}
			for _, f := range finished {
				for i := range f.Records {
					if f.Records[i].ID == "p3" && outs[i].Topic == "stickers" {
						outs[i].Err = channel.ErrTooLarge
						return outs[i].Err
					}
				}
			}
			return nil
		}
		v.run(quick(), flow.Step("a", arrivals, c.block()))
		v.give("arrivals", "", numbered(1, 5)...)
		v.wait(10 * time.Second)
		equal(t, "sent", v.parcels("stickers"), []string{"p1", "p2", "p4", "p5"})
		v.is("a", "received=5 sent=4 dead=1 retries=1")
		v.took = time.Second
		v.give("arrivals", "", "p6")
		v.wait(100 * time.Millisecond)
		v.give("arrivals", "", "p7") // computed while the commit of p6 is under way
		v.wait(100 * time.Millisecond)
		v.stop()
		equal(t, "after Stop", v.parcels("stickers"), []string{"p1", "p2", "p4", "p5", "p6", "p7"})
	})
}
