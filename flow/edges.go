package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Link is a kind of edge.
type Link string

// The links.
const (
	LinkIn         Link = "in"          // a step reads a topic
	LinkOut        Link = "out"         // a step sends to a topic
	LinkDirect     Link = "direct"      // a hop in the process
	LinkError      Link = "error"       // to the dead letter
	LinkTime       Link = "time"        // a clock
	LinkEvery      Link = "every"       // every instance reads it
	LinkBestEffort Link = "best effort" // may be lost
)

// An Edge is one arrow of the flow's drawing, between a step and a topic or, over a direct hop, from a
// step to a step.
type Edge struct {
	From string `json:"from"` // "step name" or "topic name"
	To   string `json:"to"`
	Link Link   `json:"link"`
	Name string `json:"name,omitempty"` // of the branch, the inlet or the direct topic
}

const (
	stepNode  = "step "
	topicNode = "topic "
	clockNode = "clock "
)

// Edges gives every arrow of the flow, sorted. Names are logical.
func (f *Flow) Edges() []Edge {
	var es []Edge
	for _, s := range f.steps {
		for _, in := range s.inlets {
			switch {
			case in.clock != nil:
				es = append(es, Edge{clockNode + s.name + "/" + in.name, stepNode + s.name, LinkTime, in.name})
			case f.direct[in.topic]: // drawn from the sender
			case in.broadcast:
				es = append(es, Edge{topicNode + in.topic, stepNode + s.name, LinkEvery, in.name})
			default:
				es = append(es, Edge{topicNode + in.topic, stepNode + s.name, LinkIn, in.name})
			}
		}
		for i := range s.outlets {
			es = append(es, s.outlets[i].edges(s)...)
		}
		if s.policy.DeadLetter != "" {
			es = append(es, Edge{stepNode + s.name, topicNode + string(s.policy.DeadLetter), LinkError, ""})
		}
	}
	slices.SortFunc(es, func(a, b Edge) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(es)
}

func (o *outlet) edges(s *step) (es []Edge) {
	link := LinkOut
	if o.BestEffort {
		link = LinkBestEffort
	}
	if o.next == nil {
		return []Edge{{stepNode + s.name, topicNode + o.Topic, link, o.Name}}
	}
	for _, in := range o.next {
		name := o.Topic
		if o.Name != "" && o.Name != o.Topic {
			name = o.Name + ": " + o.Topic
		}
		es = append(es, Edge{stepNode + s.name, stepNode + in.step.name, LinkDirect, name})
	}
	return es
}

// String gives the edge in one line.
func (e Edge) String() string {
	return fmt.Sprintf("%s --%s %s--> %s", e.From, e.Link, e.Name, e.To)
}

// JSON gives nodes and edges for tools.
func (f *Flow) JSON() ([]byte, error) {
	type node struct {
		Name    string `json:"name"`
		Pattern string `json:"pattern"`
		Scope   string `json:"scope"`
		Group   string `json:"group,omitempty"`
	}
	doc := struct {
		Flow    string `json:"flow"`
		Exactly bool   `json:"exactlyOnce,omitempty"`
		Steps   []node `json:"steps"`
		Edges   []Edge `json:"edges"`
	}{Flow: f.name, Exactly: f.exactlyOnce, Edges: f.Edges()}
	for _, s := range f.steps {
		n := node{Name: s.name, Pattern: s.shape.Pattern, Scope: s.scope}
		if s.source == nil {
			n.Group = s.group
		}
		doc.Steps = append(doc.Steps, n)
	}
	return json.MarshalIndent(doc, "", "  ") //nolint:wrapcheck // It cannot fail.
}

// Unread lists the topics the flow sends to and no step of it reads; Unfed those a step reads and none
// sends to. Neither is a mistake: other flows are there too.
func (f *Flow) Unread() []string {
	return f.ends(func(s *step, add func(string)) {
		for i := range s.outlets {
			add(s.outlets[i].Topic)
		}
	}, func(topic string) bool { return len(f.feeds[topic]) > 0 })
}

// Unfed lists the topics that steps read and no step of the flow sends to: where messages come in.
func (f *Flow) Unfed() []string {
	fed := map[string]bool{}
	for _, s := range f.steps {
		for i := range s.outlets {
			fed[s.outlets[i].Topic] = true
		}
	}
	return f.ends(func(s *step, add func(string)) {
		for _, in := range s.inlets {
			add(in.topic)
		}
	}, func(topic string) bool { return topic == "" || fed[topic] })
}

func (f *Flow) ends(each func(*step, func(string)), skip func(string) bool) (topics []string) {
	for _, s := range f.steps {
		each(s, func(topic string) {
			if !skip(topic) && !slices.Contains(topics, topic) {
				topics = append(topics, topic)
			}
		})
	}
	slices.Sort(topics)
	return topics
}
