package flow

import (
	"strings"

	"github.com/leat-go/leat/channel"
)

// defaultHistory is how many steps a history has at most.
const defaultHistory = 64

// History has every message that leaves the flow list the steps it has come through, in
// channel.HeaderHistory: the newest of them, 64 at most, across all flows that keep one. It is for those
// who have no tracing backend, and for dead letters. It costs an allocation and some bytes a message, so
// it is off unless it is asked for.
// Source: Message History, Enterprise Integration Patterns, page 551.
func History() Part {
	return partFunc(func(d *draft, s *step) {
		if s != nil {
			d.flow.wrong(s, "History stands for the whole flow: give it to New")
			return
		}
		d.flow.history = defaultHistory
	})
}

// historyOf is what a message that leaves, or is kept, has come through: the steps before it arrived, and those since.
// What a clock made of a group has that of its first member.
func (f *Flow) historyOf(leaves *channel.Envelope) string {
	var since []string
	e := leaves.Cause()
	for ; e != nil; e = e.Cause() {
		since = append(since, strings.ReplaceAll(e.Scope(), " ", "%20"))
	}
	past := leaves.Root().Get(channel.HeaderHistory)
	if members := leaves.Members(); leaves.Root().Tick() && len(members) > 0 {
		past = members[0].Get(channel.HeaderHistory)
	}
	var steps []string
	if past != "" {
		steps = strings.Split(past, " ")
	}
	for i := len(since) - 1; i >= 0; i-- {
		steps = append(steps, since[i])
	}
	return strings.Join(steps[max(0, len(steps)-f.history):], " ")
}
