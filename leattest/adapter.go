package leattest

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

// An AdapterSpec says how the suite of Adapter comes by the adapter that it tests.
type AdapterSpec struct {
	// Open gives the surroundings of one subtest. What they need to be closed is registered with
	// t.Cleanup; ends that the suite was given it closes itself.
	Open func(t *testing.T, s AdapterSettings) AdapterEnv
	// Without names the subtests that this adapter has nothing to be tested with: no server that can be
	// restarted, no transactions. A subtest that lacks what it needs and is not named fails, and so does
	// a name whose subtest lacks nothing.
	Without []string
	// Virtual runs each subtest in a bubble of testing/synctest: for an adapter whose broker lives in it.
	// Else the subtests run side by side in real time, but for those that measure.
	Virtual bool
	// Patience is how long a subtest waits for what must happen. 0: 30 s.
	Patience time.Duration
	// Heap is by how many bytes the heap may grow while 64 MiB wait and nobody works on them. 0: they are
	// on this very heap, and nothing is measured.
	Heap uint64
	// Stays lists functions of goroutines that may outlive every end: those of a client library's package.
	Stays []string
}

// AdapterSettings are what a subtest wants of its surroundings.
type AdapterSettings struct {
	Order  adapters.Order
	Window int           // messages that one claim, or one subscription, may have in flight; never 0
	Drain  time.Duration // the DrainTimeout; never 0
	// Create has Topics make what is missing.
	Create bool
	// Crashes tells that Crash will be called: a member should soon count as dead. Restarts tells the same
	// of Restart: the broker must be this subtest's own.
	Crashes, Restarts bool
}

// An AdapterEnv is a broker, and ways to reach it. Nil and zero fields are what there is not.
type AdapterEnv struct {
	// Publisher and Subscriber give new ends, as another process would have them.
	Publisher  func() message.Publisher
	Subscriber func(r AdapterReader) message.Subscriber
	// Topic makes a topic of that many partitions. Nil: topics need not be made.
	Topic func(partitions int) string
	// Crash has a Subscriber vanish as by kill -9 of its process: nothing that it still has reaches the
	// broker, neither acknowledgements nor that it is gone. The suite closes it later all the same.
	Crash func(s message.Subscriber)
	// Restart kills the broker and starts it again with what it had. It returns when that is under way.
	Restart func()
	// Foreign puts a record on a topic that is no message to this adapter, and gives its bytes.
	Foreign func(topic string) []byte
	// Outage has every publish of a message without a key to the topic fail, from now on or no longer. What
	// has a key is not published there meanwhile.
	Outage func(topic string, down bool)
	// Again says how often a message was delivered before, by its context or metadata.
	Again func(m *message.Message) int
	// DeadLetters: Subscriber heeds Attempts and DeadLetter.
	DeadLetters bool
}

// An AdapterReader says what a Subscriber is to be.
type AdapterReader struct {
	Group string
	// Attempts is after how many nacks a message goes to DeadLetter. Neither is given without
	// AdapterEnv.DeadLetters.
	Attempts   int
	DeadLetter string
}

// Adapter is the conformance suite of a Publisher and Subscriber: what Watermill's own suite leaves
// open, and what package adapters offers. Do not call it from a parallel test.
//
//	leattest.Adapter(t, leattest.AdapterSpec{
//		Open: func(t *testing.T, s leattest.AdapterSettings) leattest.AdapterEnv {
//			b := mybroker.Start(t)
//			return leattest.AdapterEnv{
//				Publisher:  func() message.Publisher { return mybroker.NewPublisher(b.Addr()) },
//				Subscriber: func(r leattest.AdapterReader) message.Subscriber { … },
//				Crash:      …
//			}
//		},
//		Without: []string{"transactions"},
//	})
//
// No subtest sleeps: it waits for signals, or asks again until Patience is over. That something does not
// happen is watched for a tenth of a second.
func Adapter(t *testing.T, spec AdapterSpec) {
	t.Helper()
	if spec.Patience == 0 {
		spec.Patience = 30 * time.Second
	}
	var runs []adapterCase
	spec.in(t, func(t *testing.T) { runs = spec.choose(newAdapterTest(t, &spec, AdapterSettings{})) })
	slices.SortStableFunc(runs, func(a, b adapterCase) int { // those that measure run alone, before the others
		switch {
		case a.alone == b.alone:
			return 0
		case a.alone:
			return -1
		}
		return 1
	})
	for _, c := range runs {
		t.Run(c.name, func(t *testing.T) {
			if !spec.Virtual && !c.alone {
				t.Parallel()
			}
			spec.in(t, func(t *testing.T) { c.test(newAdapterTest(t, &spec, c.settings)) })
		})
	}
}

func (s *AdapterSpec) in(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if s.Virtual {
		synctest.Test(t, test)
		return
	}
	test(t)
}

// An adapterCase is one subtest.
type adapterCase struct {
	name     string
	settings AdapterSettings
	alone    bool
	needs    []adapterNeed
	test     func(x *adapterTest)
}

// An adapterNeed is what a subtest cannot do without.
type adapterNeed struct {
	what string // and what to do about it
	has  func(x *adapterTest, pub message.Publisher, sub message.Subscriber) bool
}

func adapterCases() []adapterCase {
	return slices.Concat(adapterMessageCases(), adapterReadCases(), adapterFaultCases(), adapterDeadCases(),
		adapterClaimCases(), adapterBatchCases(), adapterFlowCases())
}

// choose gives the subtests that can be run, and fails if the spec says otherwise of any.
func (s *AdapterSpec) choose(x *adapterTest) (runs []adapterCase) {
	pub, sub := x.publisher(), x.subscriber(AdapterReader{Group: x.name("group")})
	names := map[string]bool{}
	for _, c := range adapterCases() {
		names[c.name] = true
		lacks := ""
		for _, n := range c.needs {
			if lacks == "" && !n.has(x, pub, sub) {
				lacks = n.what
			}
		}
		switch without := slices.Contains(s.Without, c.name); {
		case lacks == "" && without:
			x.Errorf("subtest %q lacks nothing: take it out of Without", c.name)
		case lacks == "":
			runs = append(runs, c)
		case !without:
			x.Errorf("subtest %q lacks %s, or name it in Without", c.name, lacks)
		}
	}
	for _, name := range s.Without {
		if !names[name] {
			x.Errorf("Without names %q, which is no subtest", name)
		}
	}
	return runs
}

// Needs that are a field of the AdapterEnv.
func needsCrash() adapterNeed {
	return adapterNeed{"a member that vanishes: give AdapterEnv.Crash", func(x *adapterTest, _ message.Publisher, _ message.Subscriber) bool {
		return x.env.Crash != nil
	}}
}

func needsRestart() adapterNeed {
	return adapterNeed{"a broker that can be killed: give AdapterEnv.Restart", func(x *adapterTest, _ message.Publisher, _ message.Subscriber) bool {
		return x.env.Restart != nil
	}}
}

func needsForeign() adapterNeed {
	return adapterNeed{"a record that is no message: give AdapterEnv.Foreign", func(x *adapterTest, _ message.Publisher, _ message.Subscriber) bool {
		return x.env.Foreign != nil
	}}
}

func needsOutage() adapterNeed {
	return adapterNeed{"a topic that refuses: give AdapterEnv.Outage", func(x *adapterTest, _ message.Publisher, _ message.Subscriber) bool {
		return x.env.Outage != nil
	}}
}

func needsDeadLetters() adapterNeed {
	return adapterNeed{"dead letters of the subscriber's own: set AdapterEnv.DeadLetters", func(x *adapterTest, _ message.Publisher, _ message.Subscriber) bool {
		return x.env.DeadLetters
	}}
}

func needsHeap() adapterNeed {
	return adapterNeed{"a broker on another heap: give AdapterSpec.Heap", func(x *adapterTest, _ message.Publisher, _ message.Subscriber) bool {
		return x.spec.Heap > 0
	}}
}

// needsOf is the need of a capability, by adapters.As, of the Publisher or the Subscriber.
func needsOf[C any](name string) adapterNeed {
	return adapterNeed{"adapters." + name + " on the Publisher or Subscriber", func(_ *adapterTest, pub message.Publisher, sub message.Subscriber) bool {
		_, p := adapters.As[C](pub)
		_, s := adapters.As[C](sub)
		return p || s
	}}
}
