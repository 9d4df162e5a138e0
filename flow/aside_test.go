package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/translator"
)

// What is fed in one transaction with a message that the broker refuses is published with the next one. Breaks if it dies of
// what was said of the other.
func TestExactlyOnceAFeedBesideARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{took: time.Second}}
		v.fail = func(_ int, _ []adapters.Finished, outs []*adapters.Outgoing) (err error) {
			for _, o := range outs {
				if o.Topic == "stickers" && strings.Contains(string(o.Payload), "bad") {
					o.Err = channel.ErrTooLarge
					err = fmt.Errorf("transaction: %w", o.Err)
				}
			}
			return err
		}
		v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
		feed := must(flow.Into(v.h, arrivals))(t)
		v.give("arrivals", "", "first")
		v.wait(100 * time.Millisecond) // its transaction is under way
		v.give("arrivals", "", "bad")
		fed := make(chan error, 1)
		go func() { fed <- feed(context.Background(), "fed", parcel{ID: "fed"}) }()
		if err := <-fed; err != nil {
			t.Errorf("the feed ends with %v", err)
		}
		v.wait(time.Minute)
		if got := v.parcels("stickers"); !slices.Contains(got, "fed") || len(got) != 2 {
			t.Errorf("sent are %v, want first and fed", got)
		}
		if letters := v.on("dead"); len(letters) != 1 || letters[0].ID != "bad" {
			t.Errorf("dead letters: %v", letters)
		}
		v.stop()
	})
}

// A feed that waits because the flow is paused does not enter it when it stops. Breaks if it is let in: then a block acts in a
// flow that says that it has ended.
func TestStopWhileAFeedIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		h, stop := begin(t, &memory.Broker{},
			flow.Step("do", words, endpoint.Do(func(context.Context, string) error { n++; return nil })), flow.Policy{DeadLetter: "dead"})
		feed := into(t, h, words)
		if err := h.Pause("do"); err != nil {
			t.Fatal(err)
		}
		fed := make(chan error, 1)
		go func() { fed <- feed(context.Background(), "1", "x") }()
		synctest.Wait()
		h.Stop()
		if err := <-fed; !errors.Is(err, channel.ErrStopped) || n != 0 {
			t.Errorf("the feed ends with %v, and %d were worked on", err, n)
		}
		balanced(t, h)
		stop()
	})
}

// Of messages of one key, one will never be published. Those behind it are. Breaks if they die with it.
func TestARefusedMessageDiesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		var sent, dead []string
		var up atomic.Bool
		pub := publisherFunc(func(topic string, ms ...*message.Message) error {
			id := ms[0].UUID
			switch {
			case topic == "dead":
				dead = append(dead, string(ms[0].Payload))
				return nil
			case string(ms[0].Payload) == `"2"`:
				return channel.ErrTooLarge
			case !up.Load():
				return errFlaky
			}
			sent = append(sent, id)
			return nil
		})
		h, err := mustNew(t, "f", flow.Step("copy", words, translator.Map(func(s string) (string, error) { return s, nil }, channel.Topic[string]("out"))),
			flow.Policy{DeadLetter: "dead"}).Start(t.Context(), pub, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		var ms []*message.Message
		for _, id := range []string{"1", "2", "3", "4"} {
			m := message.NewMessage(id, []byte(`"`+id+`"`))
			m.Metadata[channel.HeaderKey] = "k"
			ms = append(ms, m)
		}
		if err := b.Publisher().Publish("words", ms...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		up.Store(true)
		time.Sleep(time.Minute)
		h.Stop()
		if len(sent) != 3 || strings.Join(dead, " ") != `"2"` {
			t.Errorf("%d are published, want 3, and dead are %v", len(sent), dead)
		}
		_ = b.Close()
	})
}

// What is refused for good is tried again all the same where there is no dead letter: nothing of its key goes before it. Breaks
// if what is behind it is published meanwhile.
func TestARefusedMessageThatIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		var sent []string
		var up atomic.Bool
		refused := 0
		pub := publisherFunc(func(_ string, ms ...*message.Message) error {
			p := string(ms[0].Payload)
			switch {
			case !up.Load():
				return errFlaky
			case p == `"2"` && refused == 0:
				refused++
				return channel.ErrTooLarge
			}
			sent = append(sent, p)
			return nil
		})
		h, err := mustNew(t, "f", flow.Step("copy", words, translator.Map(func(s string) (string, error) { return s, nil }, channel.Topic[string]("out"))),
			flow.Policy{Redeliver: true, Backoff: flow.Fixed(time.Second)}).Start(t.Context(), pub, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"1", "2", "3", "4"} {
			m := message.NewMessage(id, []byte(`"`+id+`"`))
			m.Metadata[channel.HeaderKey] = "k"
			if err := b.Publisher().Publish("words", m); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		up.Store(true)
		time.Sleep(time.Minute)
		h.Stop()
		if got := strings.Join(sent, " "); got != `"1" "2" "3" "4"` || refused != 1 {
			t.Errorf("published are %s, and %d were refused before", got, refused)
		}
		_ = b.Close()
	})
}

// TestABlocksDeadLetterIsTooLarge, in a transaction.
func TestExactlyOnceABlocksDeadLetterIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{}}
		v.fail = func(_ int, _ []adapters.Finished, outs []*adapters.Outgoing) (err error) {
			for _, o := range outs {
				if len(o.Payload) > 5000 {
					o.Err = channel.ErrTooLarge
					err = o.Err
				}
			}
			return err
		}
		bury := block[parcel]{func(channel.Message[parcel]) (channel.Result, error) {
			return channel.Dead(errors.New("the block's reason")), nil
		}, channel.Shape{}}
		v.run(quick(), flow.Step("a", arrivals, bury))
		v.give("arrivals", "", strings.Repeat("x", 6000))
		v.wait(time.Minute)
		letters := v.on("dead")
		if len(letters) != 1 || letters[0].Headers[flow.DeadSize] == "" || !strings.Contains(letters[0].Headers[flow.DeadError], "the block's reason") {
			t.Errorf("dead letters: %v", letters)
		}
		v.stop()
	})
}

// A held is a publisher whose sends are through when the test says so.
type held struct {
	message.Publisher

	mu   sync.Mutex
	open []*adapters.Outgoing
	told map[*adapters.Outgoing]func([]*adapters.Outgoing)
}

func (h *held) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range outs {
		h.open, h.told[o] = append(h.open, o), done
	}
}

// under gives what is under way of a payload.
func (h *held) under(payload string) *adapters.Outgoing {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.open {
		if string(o.Payload) == payload {
			return o
		}
	}
	return nil
}

func (h *held) answer(t *testing.T, payload string, err error) {
	t.Helper()
	o := h.under(payload)
	if o == nil {
		t.Fatalf("%s is not under way", payload)
	}
	h.mu.Lock()
	h.open = slices.DeleteFunc(h.open, func(x *adapters.Outgoing) bool { return x == o })
	done := h.told[o]
	h.mu.Unlock()
	o.Err = err
	done([]*adapters.Outgoing{o})
	synctest.Wait()
}

// Three messages of a key: the first is being published, the second waits for its next try and is given back because the flow
// stops, the third waits behind both. Breaks if it goes on when the first is through: then it is before the second.
func TestGivenBackWhileTheFirstIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		pub := &held{Publisher: b.Publisher(), told: map[*adapters.Outgoing]func([]*adapters.Outgoing){}}
		h, err := mustNew(t, "f", flow.Step("copy", words, translator.Map(func(s string) (string, error) { return s, nil }, channel.Topic[string]("out"))),
			flow.Policy{DeadLetter: "dead"}).Start(t.Context(), pub, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		give := func(ids ...string) {
			for _, id := range ids {
				m := message.NewMessage(id, []byte(`"`+id+`"`))
				m.Metadata[channel.HeaderKey] = "k"
				if err := b.Publisher().Publish("words", m); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		give("1", "2")
		pub.answer(t, `"1"`, errFlaky)
		pub.answer(t, `"2"`, errFlaky)
		give("3")
		time.Sleep(time.Second) // both are sent again
		synctest.Wait()
		pub.answer(t, `"2"`, errFlaky)
		stopped := make(chan struct{})
		go func() {
			h.Stop()
			close(stopped)
		}()
		synctest.Wait()
		pub.answer(t, `"1"`, nil)
		if o := pub.under(`"3"`); o != nil {
			t.Error("the third is published, and the second was given back")
			pub.answer(t, `"3"`, nil)
		}
		<-stopped
		if left := b.Subscriber("f").Lag("words"); left != 2 {
			t.Errorf("%d messages are left, want 2", left)
		}
		balanced(t, h)
		_ = b.Close()
	})
}

// A publisher refuses a dead letter for good, whatever for: a notice is sent in its place. Breaks if only size has it cut: the
// letter is tried for ever, and its key with it.
func TestARefusedDeadLetterBecomesANotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		var notice *message.Message
		pub := publisherFunc(func(topic string, ms ...*message.Message) error {
			if m := ms[0]; m.Metadata["forged"] != "" || len(m.UUID) > 8000 {
				return channel.Permanent(errFlaky)
			} else if topic == "dead" {
				notice = m
			}
			return nil
		})
		h, err := mustNew(t, "f", flow.Step("do", words, endpoint.Do(func(context.Context, string) error { return channel.Permanent(errFlaky) })),
			flow.Policy{DeadLetter: "dead"}).Start(t.Context(), pub, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		m := message.NewMessage(strings.Repeat("x", 8100), []byte(`"1"`))
		m.Metadata["forged"] = "yes"
		if err := b.Publisher().Publish("words", m); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.Stop()
		if notice == nil || notice.Metadata[flow.DeadSize] != "3" || notice.Metadata["forged"] != "" || len(notice.UUID) != 64 {
			t.Errorf("the dead letter is %v", notice)
		}
		_ = b.Close()
	})
}

// A publisher takes next to nothing: the least notice has no bytes, and a little of each header. Breaks if it waits for ever.
func TestARefusedNoticeBecomesTheLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		var notice *message.Message
		pub := publisherFunc(func(_ string, ms ...*message.Message) error {
			if err := (channel.Limits{Body: 1000, Headers: 16, Header: 512, HeaderBytes: 4 << 10}).Check(ms[0].Payload, channel.Metadata(ms[0].Metadata)); err != nil {
				return err
			}
			notice = ms[0]
			return nil
		})
		panics := endpoint.Do(func(context.Context, string) error { panic(strings.Repeat("long words ", 500)) })
		h, err := mustNew(t, "f", flow.Step("do", words, panics), flow.Policy{DeadLetter: "dead", Attempts: 1}).Start(t.Context(), pub, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publisher().Publish("words", message.NewMessage("1", []byte(`"`+strings.Repeat("x", 2000)+`"`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.Stop()
		switch {
		case notice == nil:
			t.Error("there is no dead letter")
		case notice.Payload == nil, len(notice.Payload) > 0, notice.Metadata[flow.DeadSize] != "2002", !strings.Contains(notice.Metadata[flow.DeadError], "long words"):
			t.Errorf("the dead letter is %q with %v", notice.Payload, notice.Metadata)
		}
		_ = b.Close()
	})
}

// A block buries a message, and the publisher takes less than the flow: the letter is a notice that has the block's reason.
// Breaks if it is forgotten that it is a letter: then the message dies of its letter's size.
func TestABlocksDeadLetterIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		var notice *message.Message
		pub := publisherFunc(func(_ string, ms ...*message.Message) error {
			if len(ms[0].Payload) > 5000 {
				return channel.ErrTooLarge
			}
			notice = ms[0]
			return nil
		})
		bury := block[string]{func(channel.Message[string]) (channel.Result, error) {
			return channel.Dead(errors.New("the block's reason")), nil
		}, channel.Shape{}}
		h, err := mustNew(t, "f", flow.Step("bury", words, bury), flow.Policy{DeadLetter: "dead"}).Start(t.Context(), pub, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publisher().Publish("words", message.NewMessage("1", []byte(`"`+strings.Repeat("x", 6000)+`"`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.Stop()
		if notice == nil || notice.Metadata[flow.DeadSize] != "6002" || !strings.Contains(notice.Metadata[flow.DeadError], "the block's reason") {
			t.Errorf("the dead letter is %v", notice)
		}
		_ = b.Close()
	})
}
