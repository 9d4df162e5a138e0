package flow

import (
	"reflect"
	"strings"

	"github.com/leat-go/leat/channel"
)

// check notes every mistake of the graph.
func (f *Flow) check(d *draft) {
	if f.name == "" || strings.ContainsAny(f.name, "/*\x00") {
		f.errs = append(f.errs, f.errorf("its name is %q: give it one without / and *", f.name))
	}
	if len(f.steps) == 0 {
		f.errs = append(f.errs, f.errorf("has no step: give New a flow.Step"))
	}
	f.checkNames()
	f.checkTypes()
	for _, s := range f.steps {
		f.checkStep(s)
	}
	for _, t := range d.order {
		if len(f.feeds[t]) == 0 {
			f.errs = append(f.errs, f.errorf("direct topic %s: no step consumes it: add one, or take it out of Direct", t))
		}
	}
	f.checkCycles()
}

func (f *Flow) checkNames() {
	names, scopes := map[string]bool{}, map[string]string{}
	for _, s := range f.steps {
		if s.name == "" || strings.ContainsAny(s.name, "/*\x00") {
			f.wrong(s, "its name is %q: give it one without / and *", s.name)
		}
		if names[s.name] {
			f.wrong(s, "two steps have this name: rename one (names are the scope of what a step remembers)")
		}
		names[s.name] = true
		if other, taken := scopes[s.scope]; taken && other != s.name {
			f.wrong(s, "step %s has the same scope %s: they would share what they remember", other, s.scope)
		}
		scopes[s.scope] = s.name
	}
}

// checkTypes finds topics that carry two types. A topic of bytes may be the dead letter of anything.
func (f *Flow) checkTypes() {
	type user struct {
		step string
		typ  reflect.Type
	}
	first := map[string]user{}
	see := func(s *step, topic string, typ reflect.Type) {
		if topic == "" || typ == nil {
			return
		}
		u, ok := first[topic]
		if !ok {
			first[topic] = user{s.name, typ}
			return
		}
		if u.typ != typ {
			f.wrong(s, "topic %s carries %v here and %v at step %s: one topic, one type: name another topic, or translate between them", topic, typ, u.typ, u.step)
		}
	}
	for _, s := range f.steps {
		for _, in := range s.inlets {
			see(s, in.topic, in.typ)
		}
		for i := range s.outlets {
			see(s, s.outlets[i].Topic, s.outlets[i].Type)
		}
	}
}

func (f *Flow) checkStep(s *step) {
	if s.source == nil && s.in == "" {
		f.wrong(s, "its topic is empty")
	}
	if channel.IsPattern(s.in) {
		f.wrong(s, "its topic %s is a pattern: a step reads one topic", s.in)
	}
	for _, err := range s.policy.wrong() {
		f.wrong(s, "%w", err)
	}
	outlets := map[string]bool{}
	for i := range s.outlets {
		o := &s.outlets[i]
		if o.Topic == "" {
			f.wrong(s, "outlet %q has no topic", o.Name)
		}
		if o.pattern && o.next != nil {
			f.wrong(s, "outlet %q is a pattern, %s, and cannot be direct", o.Name, o.Topic)
		}
		outlets[o.Topic] = true
	}
	if dl := string(s.policy.DeadLetter); dl != "" {
		if f.direct[dl] {
			f.wrong(s, "its dead letter %s is direct: a dead letter leaves the process", dl)
		}
		if channel.IsPattern(dl) {
			f.wrong(s, "its dead letter %s is a pattern: name one topic", dl)
		}
		if path := f.deathCircle(s); path != nil {
			f.wrong(s, "its dead letters come back to it: %s: give one of these steps another dead letter, or Redeliver", strings.Join(path, " > "))
		}
	}
	f.checkInlets(s)
	if s.source != nil && len(s.around) > 0 {
		f.wrong(s, "a source has nothing to stand around: put the interceptors around the step it feeds")
	}
}

// checkInlets looks at a step's other ways in, whose names tell them apart.
func (f *Flow) checkInlets(s *step) {
	names := map[string]bool{}
	for i, in := range s.inlets {
		if i == 0 && s.source == nil { // its topic
			continue
		}
		switch {
		case in.name == "":
			f.wrong(s, "an inlet beside its topic has no name: give it one")
		case names[in.name]:
			f.wrong(s, "two inlets are called %s: rename one, or take one of two interceptors of a kind away", in.name)
		case in.clock == nil && in.topic == "":
			f.wrong(s, "inlet %s has no topic", in.name)
		case channel.IsPattern(in.topic):
			f.wrong(s, "inlet %s has the topic %s, a pattern: an inlet reads one topic", in.name, in.topic)
		}
		names[in.name] = true
		switch {
		case !in.broadcast:
		case in.clock != nil:
			f.wrong(s, "inlet %s is a clock and for every instance (Broadcast): take Broadcast away", in.name)
		case f.direct[in.topic]:
			f.wrong(s, "inlet %s is for every instance (Broadcast) and its topic %s is direct, which stays in one: take it out of Direct", in.name, in.topic)
		}
		if in.clock != nil && (in.clock.Due == nil || in.clock.Fire == nil) {
			f.wrong(s, "clock %s has no Due or no Fire", in.name)
		}
	}
}

// checkCycles finds cycles of direct hops only: they would never end.
func (f *Flow) checkCycles() {
	const (
		unseen = iota
		open
		done
	)
	state := map[*step]int{}
	var path []string
	var visit func(s *step)
	visit = func(s *step) {
		state[s] = open
		path = append(path, s.name)
		for i := range s.outlets {
			for _, in := range s.outlets[i].next {
				switch state[in.step] {
				case open:
					at := 0
					for path[at] != in.step.name {
						at++
					}
					f.wrong(in.step, "direct hops form a cycle: %s > %s: take one of its topics out of Direct",
						strings.Join(path[at:], " > "), in.step.name)
				case unseen:
					visit(in.step)
				}
			}
		}
		path = path[:len(path)-1]
		state[s] = done
	}
	for _, s := range f.steps {
		if state[s] == unseen {
			visit(s)
		}
	}
}

// deathCircle follows dead letters from step to step, and gives the way back to s if there is one.
func (f *Flow) deathCircle(s *step) (path []string) {
	seen := map[*step]bool{}
	var visit func(x *step, path []string) []string
	visit = func(x *step, path []string) []string {
		path = append(path, x.name)
		if seen[x] {
			return nil
		}
		seen[x] = true
		for _, in := range f.feeds[string(x.policy.DeadLetter)] {
			if in.step == s {
				return append(path, s.name)
			}
			if back := visit(in.step, path); back != nil {
				return back
			}
		}
		return nil
	}
	return visit(s, nil)
}
