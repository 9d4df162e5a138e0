package memory_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
)

// A leading is a Follow whose own is the test.
type leading struct {
	*claiming

	caught atomic.Int32
}

// follow follows the topic "topic".
func follow(t *testing.T, sub *memory.Subscriber) *leading {
	t.Helper()
	l := &leading{}
	l.claiming = claim(t, asClaims(func(ctx context.Context, topics []string, own func(adapters.Claim)) error {
		return sub.Follow(ctx, topics, own, func() { l.caught.Add(1) })
	}))
	return l
}

type asClaims func(ctx context.Context, topics []string, own func(adapters.Claim)) error

func (f asClaims) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	return f(ctx, topics, own)
}

// is checks how often the follower was said to be caught up.
func (l *leading) is(t *testing.T, want int32) {
	t.Helper()
	synctest.Wait()
	if got := l.caught.Load(); got != want {
		t.Fatalf("caught up %d times, want %d", got, want)
	}
}

// Every follower sees a kept topic from its start, whoever has read it, and is caught up when it has finished
// what was there when it began: not before, not for what came later, once.
func TestFollow(t *testing.T) {
	b := &memory.Broker{Keep: []string{"topic"}}
	virtual(t, b, func(t *testing.T) {
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		publish(t, b.Publisher(), "topic", msg("1", "a"), msg("2", "b"), msg("3", "a"))
		same(t, "the group", drain(ms), []string{"1", "2", "3"})

		first := follow(t, b.Subscriber("group").Group("").(*memory.Subscriber))
		publish(t, b.Publisher(), "topic", msg("4", "a"))
		rs := first.next(t, 10)
		same(t, "the first", recordIDs(rs), []string{"1", "3", "4", "2"})
		first.Finish(rs[1:])
		first.is(t, 0)
		first.Return(rs[:1])
		first.is(t, 0)
		rs = first.next(t, 10)
		same(t, "again", recordIDs(rs), []string{"1"})
		first.Finish(rs)
		first.is(t, 1)
		same(t, "the group", drain(ms), []string{"4"})

		second := follow(t, b.Subscriber(""))
		rs = second.next(t, 10)
		same(t, "the second", recordIDs(rs), []string{"1", "3", "4", "2"})
		if err := first.leave(); err != nil { // the others keep what they have
			t.Fatal(err)
		}
		publish(t, b.Publisher(), "topic", msg("5", "b"))
		second.Finish(rs)
		second.is(t, 1)
		rs = second.next(t, 10)
		same(t, "later", recordIDs(rs), []string{"5"})
		second.Finish(rs)
		second.is(t, 1)
		if err := second.leave(); err != nil {
			t.Fatal(err)
		}
		third := follow(t, b.Subscriber(""))
		same(t, "when nobody was there", recordIDs(third.next(t, 10)), []string{"1", "3", "4", "2", "5"})
		if err := third.leave(); err != nil {
			t.Fatal(err)
		}
		third.is(t, 0)
	})
}

func TestFollowAnEmptyTopic(t *testing.T) {
	b := &memory.Broker{Keep: []string{"topic"}}
	virtual(t, b, func(t *testing.T) {
		l := follow(t, b.Subscriber(""))
		l.is(t, 1)
		if err := l.leave(); err != nil {
			t.Fatal(err)
		}
	})
}

// Of several topics it is caught up with all or with none.
func TestFollowTwoTopics(t *testing.T) {
	b := &memory.Broker{Keep: []string{"a", "b"}}
	virtual(t, b, func(t *testing.T) {
		publish(t, b.Publisher(), "a", msg("a1", ""))
		publish(t, b.Publisher(), "b", msg("b1", ""))
		var caught atomic.Int32
		ctx, stop := context.WithCancel(t.Context())
		turns := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
		done := make(chan error, 1)
		go func() {
			done <- b.Subscriber("").Follow(ctx, []string{"a", "b"}, func(c adapters.Claim) {
				rs, err := c.Next(make([]*adapters.Record, 0, 10))
				if err != nil || len(rs) != 1 {
					t.Errorf("%v, %v", rs, err)
				}
				<-turns[c.Topic()]
				c.Finish(rs)
				<-ctx.Done()
			}, func() { caught.Add(1) })
		}()
		for i, topic := range []string{"b", "a"} {
			close(turns[topic])
			synctest.Wait()
			if got := int(caught.Load()); got != i {
				t.Errorf("after %s caught up %d times, want %d", topic, got, i)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Nobody waits for room on a topic that nobody has to read, and a slow group still makes its publishers wait.
func TestAKeptTopicIsNeverFull(t *testing.T) {
	b := &memory.Broker{Keep: []string{"topic"}, Bound: 2}
	virtual(t, b, func(t *testing.T) {
		for i := range 5 {
			publish(t, b.Publisher(), "topic", msg(fmt.Sprint(i), ""))
		}
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		through := make(chan struct{})
		go func() {
			publish(t, b.Publisher(), "topic", msg("5", ""))
			close(through)
		}()
		synctest.Wait()
		select {
		case <-through:
			t.Error("nobody waited for the group")
		default:
		}
		same(t, "all", drain(ms), []string{"0", "1", "2", "3", "4", "5"})
		<-through
	})
}

func TestFollowRefuses(t *testing.T) {
	b := &memory.Broker{Keep: []string{"topic"}}
	shutWith(t, b)
	for name, x := range map[string]struct {
		sub    *memory.Subscriber
		topics []string
		want   []string
	}{
		"a group":             {b.Subscriber("group"), []string{"topic"}, []string{`group "group"`, `Group("")`}},
		"what is not kept":    {b.Subscriber(""), []string{"topic", "x", "y"}, []string{`topic "x"`, `topic "y"`, "Broker.Keep"}},
		"nothing":             {b.Subscriber(""), nil, []string{"without topics"}},
		"a wrong broker":      {(&memory.Broker{Keep: []string{""}}).Subscriber(""), []string{"topic"}, []string{"Keep names a topic"}},
		"one topic, twice":    {b.Subscriber(""), []string{"topic", "topic"}, []string{"twice"}},
		"a closed subscriber": {closedSubscriber(t, b), []string{"topic"}, []string{"closed"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := x.sub.Follow(t.Context(), x.topics, func(adapters.Claim) { t.Error("it was handed a claim") }, func() { t.Error("it is caught up") })
			if err == nil {
				t.Fatal("it is followed")
			}
			for _, want := range x.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
		})
	}
}

func closedSubscriber(t *testing.T, b *memory.Broker) *memory.Subscriber {
	t.Helper()
	s := b.Subscriber("")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}
