package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

// A TopicUse is a topic on a flow's broker, and the steps that use it.
type TopicUse struct {
	Topic   string   // physical: with the flow's Prefix
	Reads   []string // steps that read it in their group
	Follows []string // steps that read it in every instance, from its start
	Sends   []string // steps that send to it
	Buries  []string // steps whose dead letter it is
}

// String says what the topic is for, without its name.
func (u TopicUse) String() string {
	var parts []string
	for _, p := range []struct {
		does  string
		steps []string
	}{{"read by", u.Reads}, {"read in every instance by", u.Follows}, {"sent to by", u.Sends}, {"the dead letter of", u.Buries}} {
		if len(p.steps) > 0 {
			parts = append(parts, p.does+" "+strings.Join(p.steps, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// Topics lists the topics that the flow needs on its broker, by name: those it reads, sends to and buries
// in. Direct hops are not among them, nor the patterns of what is sent where a message says.
func (f *Flow) Topics() []TopicUse {
	uses := map[string]*TopicUse{}
	use := func(topic string) *TopicUse {
		if uses[topic] == nil {
			uses[topic] = &TopicUse{Topic: f.prefix + topic}
		}
		return uses[topic]
	}
	add := func(steps *[]string, s *step) {
		if !slices.Contains(*steps, s.name) {
			*steps = append(*steps, s.name)
		}
	}
	for _, s := range f.steps {
		for _, in := range s.inlets {
			switch {
			case in.clock != nil, f.direct[in.topic], f.alone: // what a block alone reads, its router says
			case in.broadcast:
				add(&use(in.topic).Follows, s)
			default:
				add(&use(in.topic).Reads, s)
			}
		}
		for i := range s.outlets {
			if o := &s.outlets[i]; o.next == nil && !o.pattern {
				add(&use(o.Topic).Sends, s)
			}
		}
		if dl := string(s.policy.DeadLetter); dl != "" {
			add(&use(dl).Buries, s)
		}
	}
	all := make([]TopicUse, 0, len(uses))
	for _, u := range uses {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b TopicUse) int { return strings.Compare(a.Topic, b.Topic) })
	return all
}

// ensure asks a publisher and a subscriber whose topics have to exist for those they will be used with.
func (f *Flow) ensure(ctx context.Context, pub message.Publisher, sub message.Subscriber) error {
	uses := f.Topics()
	ask := func(end any, used func(u TopicUse) bool) error {
		owner, ok := adapters.As[adapters.Topics](end)
		if !ok {
			return nil
		}
		var topics []string
		for _, u := range uses {
			if used(u) {
				topics = append(topics, u.Topic)
			}
		}
		if len(topics) == 0 {
			return nil
		}
		return owner.Ensure(ctx, topics)
	}
	// Both at once: a broker that takes connections and says nothing costs one timeout, not two.
	var both sync.WaitGroup
	var errs [2]error
	both.Go(func() { errs[0] = ask(pub, func(u TopicUse) bool { return len(u.Sends) > 0 || len(u.Buries) > 0 }) })
	both.Go(func() { errs[1] = ask(sub, func(u TopicUse) bool { return len(u.Reads) > 0 || len(u.Follows) > 0 }) })
	both.Wait()
	err := errors.Join(errs[:]...)
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, u := range uses {
		if name := strconv.Quote(u.Topic); strings.Contains(text, name) {
			err = errors.Join(err, fmt.Errorf("%s is %s", name, u)) //nolint:err113 // It only says more of the one before.
		}
	}
	return f.errorf("its topics: %w", err)
}
