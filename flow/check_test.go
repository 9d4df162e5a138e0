package flow_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// done is the block of an end.
func done[T any]() endpoint.ServiceActivator[T] {
	return endpoint.Do(func(context.Context, T) error { return nil })
}

// sendsTo is a block with the outlets given.
func sendsTo(outs ...channel.Outlet) block[parcel] {
	return block[parcel]{func(channel.Message[parcel]) (channel.Result, error) { return channel.Done(), nil }, channel.Shape{Outlets: outs}}
}

type spring struct{ shape channel.Shape }

func (s spring) Open(func(context.Context, channel.Result) error) {}
func (s spring) Shape() channel.Shape                             { return s.shape }

type batcher struct{}

func (batcher) ProcessBatch([]channel.Message[parcel]) ([]channel.Result, []error) { return nil, nil }

func (batcher) Shape() channel.Shape { return channel.Shape{} }

func TestNewReportsEveryMistakeByName(t *testing.T) {
	pass := guardian{enter: func(*channel.Envelope) (channel.Result, channel.Exit, error) { return channel.Result{}, nil, nil }}
	ok := flow.Step("ok", arrivals, done[parcel]())
	stepWith := func(p flow.Part) flow.Part { return flow.Step("s", arrivals, done[parcel](), p) }
	for name, x := range map[string]struct {
		parts []flow.Part
		want  []string // of the one error
	}{
		"no step":          {[]flow.Part{quick()}, []string{"flow f: has no step", "flow.Step"}},
		"nil part":         {[]flow.Part{ok, nil}, []string{"flow f: one of its parts is nil"}},
		"nil part of step": {[]flow.Part{stepWith(nil)}, []string{"step s: one of its parts is nil"}},
		"step without name": {
			[]flow.Part{flow.Step("", arrivals, done[parcel]())},
			[]string{`its name is ""`, "give it one"},
		},
		"step with a slash": {[]flow.Part{flow.Step("a/b", arrivals, done[parcel]())}, []string{`step a/b: its name is "a/b"`, "without /"}},
		"two of one name":   {[]flow.Part{ok, ok}, []string{"step ok: two steps have this name", "rename one"}},
		"two of one scope": {
			[]flow.Part{ok, flow.Step("s", arrivals, done[parcel](), flow.Scope("f/ok"))},
			[]string{"step s: step ok has the same scope f/ok"},
		},
		"nil block":                 {[]flow.Part{flow.Step[parcel]("s", arrivals, nil)}, []string{"step s: its block is nil"}},
		"nil pointer to a block":    {[]flow.Part{flow.Step("s", arrivals, channel.Processor[parcel]((*shy)(nil)))}, []string{"step s", "Shape", "panic"}},
		"nil source":                {[]flow.Part{flow.Source("s", nil)}, []string{"step s: its source is nil"}},
		"block with a mistake":      {[]flow.Part{flow.Step("s", arrivals, endpoint.Do[parcel](nil))}, []string{"step s: Service Activator", "Act is nil"}},
		"nil interceptor":           {[]flow.Part{stepWith(flow.Around(nil))}, []string{"step s: interceptor 0 of Around is nil"}},
		"nil interceptor for all":   {[]flow.Part{ok, flow.Around(pass, nil)}, []string{"step ok: interceptor 1 of Around is nil"}},
		"interceptor with mistakes": {[]flow.Part{stepWith(flow.Around(channel.Expiry{}))}, []string{"step s: Message Expiration", "Expiry.To is empty"}},
		"source with interceptors":  {[]flow.Part{flow.Source("s", spring{}, flow.Around(pass))}, []string{"step s: a source has nothing to stand around", "the step it feeds"}},
		"empty topic":               {[]flow.Part{flow.Step("s", channel.Topic[parcel](""), done[parcel]())}, []string{"step s: its topic is empty"}},
		"pattern for a topic":       {[]flow.Part{flow.Step("s", channel.Topic[parcel]("a.*"), done[parcel]())}, []string{"step s: its topic a.* is a pattern"}},
		"empty outlet":              {[]flow.Part{flow.Step("s", arrivals, sendsTo(channel.Out("way", channel.Topic[parcel](""))))}, []string{`step s: outlet "way" has no topic`}},
		"one topic, two types, read": {
			[]flow.Part{ok, flow.Step("s", channel.Topic[sticker]("arrivals"), done[sticker]())},
			[]string{"step s: topic arrivals carries flow_test.sticker here and flow_test.parcel at step ok"},
		},
		"one topic, two types, sent": {
			[]flow.Part{ok, flow.Step("s", stickers, translator.Map(func(sticker) (sticker, error) { return sticker{}, nil }, channel.Topic[sticker]("arrivals")))},
			[]string{"step s: topic arrivals carries flow_test.sticker here", "one topic, one type"},
		},
		"no policy": {[]flow.Part{ok, flow.Policy{}}, []string{"step ok: an error has no way out", "DeadLetter", "Redeliver"}},
		"two ways out": {
			[]flow.Part{stepWith(flow.Policy{DeadLetter: dead, Redeliver: true})},
			[]string{"step s: flow.Policy has a DeadLetter and says Redeliver: choose one"},
		},
		"numbers below zero": {[]flow.Part{stepWith(flow.Policy{DeadLetter: dead, Attempts: -1})}, []string{"step s: flow.Policy has a number below zero", "-1"}},
		"too much jitter":    {[]flow.Part{stepWith(flow.Policy{DeadLetter: dead, Backoff: flow.Backoff{Jitter: 2}})}, []string{"step s", "Jitter above 1"}},
		"rule without When":  {[]flow.Part{stepWith(flow.Policy{DeadLetter: dead, Rules: []flow.Rule{{}}})}, []string{"step s: flow.Policy: When is nil in rule 0"}},
		"dead letter to itself": {
			[]flow.Part{flow.Step("s", channel.Topic[[]byte]("dead"), done[[]byte]())},
			[]string{"step s: its dead letters come back to it: s > s"},
		},
		"direct dead letter":      {[]flow.Part{ok, flow.Step("d", dead, done[[]byte](), flow.Policy{Redeliver: true}), flow.Direct(dead)}, []string{"step ok: its dead letter dead is direct"}},
		"pattern for a letter":    {[]flow.Part{stepWith(flow.Policy{DeadLetter: "dead.*"})}, []string{"step s: its dead letter dead.* is a pattern"}},
		"direct, nobody reads":    {[]flow.Part{ok, flow.Direct(sorted)}, []string{"flow f: direct topic sorted: no step consumes it"}},
		"direct for a step":       {[]flow.Part{stepWith(flow.Direct(arrivals))}, []string{"step s: Direct stands for the whole flow"}},
		"direct nil":              {[]flow.Part{ok, flow.Direct(nil)}, []string{"flow f: Direct", "nil"}},
		"prefix for a step":       {[]flow.Part{stepWith(flow.Prefix("x."))}, []string{"step s: Prefix stands for the whole flow"}},
		"codec for a step":        {[]flow.Part{stepWith(flow.Codec(channel.Raw{}))}, []string{"step s: Codec stands for the whole flow"}},
		"logger for a step":       {[]flow.Part{stepWith(flow.Logger(silent()))}, []string{"step s: Logger stands for the whole flow"}},
		"limits for a step":       {[]flow.Part{stepWith(flow.Limits(channel.Limits{}))}, []string{"step s: Limits stands for the whole flow"}},
		"negative limits":         {[]flow.Part{ok, flow.Limits(channel.Limits{Body: -1})}, []string{"flow f: Limits(", "Body:-1", "negative"}},
		"no codec":                {[]flow.Part{ok, flow.Codec(nil)}, []string{"flow f: Codec(nil)"}},
		"hops for a step":         {[]flow.Part{stepWith(flow.MaxHops(3))}, []string{"MaxHops(3)"}},
		"no hops":                 {[]flow.Part{ok, flow.MaxHops(0)}, []string{"MaxHops(0): give New a number from 1"}},
		"no workers":              {[]flow.Part{ok, flow.Workers(0)}, []string{"Workers(0): give a number from 1"}},
		"clock without functions": {[]flow.Part{flow.Step("s", arrivals, block[parcel]{shape: channel.Shape{Inlets: []channel.Inlet{{Name: "tick", Clock: &channel.Timer{}}}}})}, []string{"step s: clock tick has no Due or no Fire"}},
		"inlet without a name":    {[]flow.Part{withInlets(channel.In("", sorted, takes))}, []string{"step s: an inlet beside its topic has no name"}},
		"inlets of one name": {
			[]flow.Part{withInlets(channel.In("rules", sorted, takes), channel.In("rules", channel.Topic[parcel]("other"), takes))},
			[]string{"step s: two inlets are called rules: rename one"},
		},
		"inlet without a topic":     {[]flow.Part{withInlets(channel.In("rules", channel.Topic[parcel](""), takes))}, []string{"step s: inlet rules has no topic"}},
		"inlet that reads patterns": {[]flow.Part{withInlets(channel.In("rules", channel.Topic[parcel]("eu.*"), takes))}, []string{"step s: inlet rules has the topic eu.*, a pattern"}},
		"inlet without a function":  {[]flow.Part{flow.Step("s", arrivals, block[parcel]{shape: channel.Shape{Inlets: []channel.Inlet{{Name: "rules", Topic: "sorted"}}}})}, []string{`step s: inlet "rules" does nothing: make it with channel.In`}},
		"batches": {
			[]flow.Part{ok, flow.Batch("b", sorted, channel.Batcher[parcel](batcher{}), flow.BatchOf{Size: 2})},
			[]string{"step b: batches are not carried", "use flow.Step"},
		},
		"broadcast over a direct topic": {
			[]flow.Part{
				flow.Step("s", arrivals, block[parcel]{shape: channel.Shape{Inlets: []channel.Inlet{{Name: "rules", Topic: "sorted", Broadcast: true}}}}),
				flow.Direct(sorted),
			},
			[]string{"step s: inlet rules is for every instance (Broadcast) and its topic sorted is direct", "take it out of Direct"},
		},
		"broadcast clock": {
			[]flow.Part{flow.Step("s", arrivals, block[parcel]{shape: channel.Shape{Inlets: []channel.Inlet{{Name: "tick", Broadcast: true, Clock: &channel.Timer{Due: never, Fire: noFire}}}}})},
			[]string{"step s: inlet tick is a clock and for every instance (Broadcast)", "take Broadcast away"},
		},
		"direct pattern": {
			[]flow.Part{flow.Step("s", arrivals, sendsTo(channel.Out("reply", channel.Topic[parcel]("re.*")))), flow.Direct(channel.Topic[parcel]("re.*"))},
			[]string{"flow f: direct topic re.*: no step consumes it"},
		},
		"direct circle": {
			[]flow.Part{
				flow.Step("a", arrivals, router.Filter(small, sorted)), flow.Step("b", sorted, router.Filter(small, rejected)),
				flow.Step("c", rejected, router.Filter(small, sorted)), flow.Direct(sorted, rejected),
			},
			[]string{"step b: direct hops form a cycle: b > c > b: take one of its topics out of Direct"},
		},
		"direct to itself": {[]flow.Part{flow.Step("a", arrivals, router.Filter(small, arrivals)), flow.Direct(arrivals)}, []string{"step a: direct hops form a cycle: a > a"}},
	} {
		t.Run(name, func(t *testing.T) {
			parts := x.parts
			if name != "no policy" {
				parts = append([]flow.Part{quick()}, parts...)
			}
			f, err := flow.New("f", parts...)
			if f != nil || err == nil {
				t.Fatalf("New gave %v and no error", f)
			}
			if !errors.Is(err, flow.ErrFlow) {
				t.Errorf("%v is no ErrFlow", err)
			}
			for _, want := range x.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error\n%v\ndoes not say %q", err, want)
				}
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "flow f: ") && !strings.HasPrefix(line, "flow f: step") && strings.HasPrefix(line, "flow") {
					t.Errorf("line %q does not name the flow", line)
				}
			}
		})
	}
}

// shy panics when it is asked anything as nil, as most blocks with a pointer receiver do.
type shy struct{ shape channel.Shape }

func (s *shy) Process(channel.Message[parcel]) (channel.Result, error) { return channel.Done(), nil }
func (s *shy) Shape() channel.Shape                                    { return s.shape }

func TestNewReportsAllMistakesAtOnce(t *testing.T) {
	_, err := flow.New("f/g",
		flow.Step("a", arrivals, endpoint.Do[parcel](nil)),
		flow.Step("a", stickers, router.Content[sticker]()),
		flow.Step("b", channel.Topic[parcel]("stickers"), done[parcel](), flow.Policy{Redeliver: true, DeadLetter: "x"}),
		flow.Direct(sorted))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`its name is "f/g"`, "step a: Service Activator", "two steps have this name", "step a: Content-Based Router",
		"topic stickers carries", "choose one", "an error has no way out", "direct topic sorted",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

// What is fine must be let pass: a cycle over a broker, a step's own policy, bytes for a dead letter's topic.
func TestNewTakesWhatIsRight(t *testing.T) {
	for name, parts := range map[string][]flow.Part{
		"cycle over a broker": {quick(), flow.Step("a", arrivals, router.Filter(small, arrivals))},
		"half direct cycle": {
			quick(), flow.Step("a", arrivals, router.Filter(small, sorted)), flow.Step("b", sorted, router.Filter(small, arrivals)), flow.Direct(sorted),
		},
		"policy of the step":   {flow.Step("a", arrivals, done[parcel](), quick())},
		"redeliver":            {flow.Step("a", arrivals, done[parcel]()), flow.Policy{Redeliver: true}},
		"two steps on a topic": {quick(), flow.Step("a", arrivals, done[parcel]()), flow.Step("b", arrivals, done[parcel]())},
		"dead letters are read": {
			flow.Step("a", arrivals, done[parcel](), quick()), flow.Step("b", dead, done[[]byte](), flow.Policy{Redeliver: true}),
		},
	} {
		if _, err := flow.New("f", parts...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// blind is a subscriber without groups.
type blind struct{}

func (blind) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return nil, errors.New("no such topic here")
}
func (blind) Close() error { return nil }

func TestStartReportsWhatPubAndSubCannot(t *testing.T) {
	step := flow.Step("a", arrivals, done[parcel]())
	broker := &memory.Broker{Bound: -1}
	for name, x := range map[string]struct {
		sub   message.Subscriber
		parts []flow.Part
		want  string
	}{
		"no subscriber":        {nil, []flow.Part{step}, "step a reads topic arrivals and there is no subscriber"},
		"no groups":            {blind{}, []flow.Part{flow.Step("a", arrivals, done[parcel](), flow.Group("g"))}, "step a wants the consumer group g of its own, and the subscriber flow_test.blind has no groups"},
		"no subscription":      {blind{}, []flow.Part{step}, "subscribing to arrivals: no such topic here"},
		"broker set up wrong":  {broker.Subscriber("f"), []flow.Part{step}, "Bound"},
		"prefix is not hidden": {blind{}, []flow.Part{step, flow.Prefix("staging.")}, "subscribing to staging.arrivals"},
	} {
		t.Run(name, func(t *testing.T) {
			f := mustNew(t, "f", append(x.parts, quick())...)
			pub := (&memory.Broker{}).Publisher()
			if _, err := f.Start(t.Context(), pub, x.sub); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("Start says %v, want %q", err, x.want)
			}
			if err := f.Run(t.Context(), pub, x.sub); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("Run says %v, want %q", err, x.want)
			}
			if name == "no subscriber" || name == "no groups" {
				_, err := f.AddTo(message.NewDefaultRouter(nil), pub, x.sub)
				if err == nil || !strings.Contains(err.Error(), x.want) {
					t.Errorf("AddTo says %v, want %q", err, x.want)
				}
			}
		})
	}
}

func TestAddToTwiceIsRefused(t *testing.T) {
	f := mustNew(t, "f", quick(), flow.Step("a", arrivals, done[parcel]()))
	b := &memory.Broker{}
	r := message.NewDefaultRouter(nil)
	if _, err := f.AddTo(r, b.Publisher(), b.Subscriber("f")); err != nil {
		t.Fatal(err)
	}
	_, err := f.AddTo(r, b.Publisher(), b.Subscriber("f"))
	if err == nil || !strings.Contains(err.Error(), "handler f/a already") {
		t.Errorf("the second AddTo says %v", err)
	}
	if _, err := f.AddTo(nil, b.Publisher(), b.Subscriber("f")); err == nil || !strings.Contains(err.Error(), "there is no router") {
		t.Errorf("without a router AddTo says %v", err)
	}
}

func takes(channel.Message[parcel]) (channel.Result, error) { return channel.Done(), nil }

// withInlets is a step with more ways in.
func withInlets(ins ...channel.Inlet) flow.Part {
	return flow.Step("s", arrivals, block[parcel]{takes, channel.Shape{Inlets: ins}})
}
