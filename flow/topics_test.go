package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// Breaks if a direct hop, a pattern or a clock counts as a topic, or one of an interceptor, a second way in or
// the dead letter does not.
func TestTopics(t *testing.T) {
	second := block[parcel]{shape: channel.Shape{
		Inlets: []channel.Inlet{
			channel.In("labels", stickers, func(channel.Message[sticker]) (channel.Result, error) { return channel.Done(), nil }),
			channel.Clock("tick", never, noFire),
		},
		Outlets: []channel.Outlet{channel.Out("reply", channel.Topic[parcel]("replies.*"))},
	}}
	f := mustNew(t, "f", quick(), flow.Prefix("x."), flow.Direct(sorted),
		flow.Step("sort", arrivals, router.Filter(small, sorted), flow.Around(channel.Expiry{To: "late"})),
		flow.Step("map", sorted, translator.Map(same, rejected), flow.Policy{DeadLetter: "dead.map"}),
		flow.Step("again", arrivals, second))
	var got []string
	for _, u := range f.Topics() {
		got = append(got, fmt.Sprintf("%s: %s", u.Topic, u))
	}
	want := []string{
		"x.arrivals: read by sort, again", "x.dead: the dead letter of sort, again", "x.dead.map: the dead letter of map",
		"x.late: sent to by sort", "x.rejected: sent to by map", "x.stickers: read by again",
	}
	if !slices.Equal(got, want) {
		t.Errorf("topics\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func never(context.Context, channel.DueRequest) (channel.Due, error) { return channel.Due{}, nil }

func noFire(context.Context, string, string) (r channel.Result, err error) {
	return channel.Done(), nil
}

var errNoTopic = errors.New("no such topic: make it")

// A registry is a broker whose topics have to exist.
type registry struct {
	diary

	known []string
}

func (r *registry) ensure(who string, topics []string) error {
	r.add(who + " " + strings.Join(topics, " "))
	var errs []error
	for _, x := range topics {
		if !slices.Contains(r.known, x) {
			errs = append(errs, fmt.Errorf("topic %q: %w", x, errNoTopic))
		}
	}
	return errors.Join(errs...)
}

type registeredPub struct {
	message.Publisher

	r *registry
}

func (p registeredPub) Ensure(_ context.Context, topics []string) error {
	return p.r.ensure("pub", topics)
}

type registeredSub struct {
	*memory.Subscriber

	r *registry
}

func (s registeredSub) Ensure(_ context.Context, topics []string) error {
	return s.r.ensure("sub", topics)
}

func (s registeredSub) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	s.r.add("claim")
	return s.Subscriber.Claim(ctx, topics, own)
}

func (s registeredSub) SubscribeInitialize(topic string) error {
	s.r.add("initialize")
	return s.Subscriber.SubscribeInitialize(topic)
}

func (s registeredSub) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.r.add("subscribe")
	return s.Subscriber.Subscribe(ctx, topic)
}

func (s registeredSub) Group(string) message.Subscriber { return s }

// Every missing topic is named at once, before anything is read, by every way to run a flow.
func TestMissingTopics(t *testing.T) {
	f := mustNew(t, "f", quick(), flow.Prefix("x."),
		flow.Step("sort", arrivals, router.Content(router.When("small", small, sorted), router.Otherwise(rejected))))
	all := []string{
		"flow f: its topics", "no such topic: make it", `"x.arrivals" is read by sort`, `"x.dead" is the dead letter of sort`,
		`"x.sorted" is sent to by sort`, `"x.rejected" is sent to by sort`,
	}
	for name, x := range map[string]struct {
		start func(pub message.Publisher, sub message.Subscriber) error
		want  []string
		asked []string
	}{
		"Start": {
			func(pub message.Publisher, sub message.Subscriber) error {
				_, err := f.Start(t.Context(), pub, sub)
				return err
			},
			all,
			[]string{"pub x.dead x.rejected x.sorted", "sub x.arrivals"},
		},
		"AddTo": {
			func(pub message.Publisher, sub message.Subscriber) error {
				_, err := f.AddTo(message.NewDefaultRouter(watermill.NopLogger{}), pub, sub)
				return err
			},
			all,
			[]string{"pub x.dead x.rejected x.sorted", "sub x.arrivals"},
		},
		"Handler": {
			func(pub message.Publisher, _ message.Subscriber) error {
				_, err := flow.Handler("do", endpoint.Do(func(context.Context, parcel) error { return nil }), pub, quick(), flow.Prefix("x."))
				return err
			},
			[]string{"flow do: its topics", `"x.dead" is the dead letter of do`},
			[]string{"pub x.dead"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &memory.Broker{}
			defer b.Close()
			r := &registry{}
			err := x.start(registeredPub{b.Publisher(), r}, registeredSub{b.Subscriber("f"), r})
			if !errors.Is(err, errNoTopic) || !errors.Is(err, flow.ErrFlow) {
				t.Fatalf("got %v", err)
			}
			for _, want := range x.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it does not say %q:\n%v", want, err)
				}
			}
			if got := slices.Sorted(slices.Values(r.read())); !slices.Equal(got, x.asked) { // both ends are asked at once
				t.Errorf("asked %q, want %q", got, x.asked)
			}
		})
	}
}

// What is there, or made when it is asked for, is asked for once and before anything else.
func TestTopicsComeFirst(t *testing.T) {
	f := mustNew(t, "f", quick(), flow.Step("sort", arrivals, done[parcel]()))
	b := &memory.Broker{}
	defer b.Close()
	r := &registry{known: []string{"arrivals", "dead"}}
	h := must(f.Start(t.Context(), registeredPub{b.Publisher(), r}, registeredSub{b.Subscriber("f"), r}))(t)
	h.Stop()
	got, want := r.read(), []string{"pub dead", "sub arrivals", "initialize", "claim"}
	slices.Sort(got[:min(2, len(got))]) // both ends are asked at once
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
