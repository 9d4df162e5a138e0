package flow

import (
	"fmt"
	"strconv"
	"strings"
)

// Mermaid draws the flow as a Mermaid flowchart: steps are boxes with their pattern, topics are
// rounded, direct hops thick, errors and best effort dashed.
func (f *Flow) Mermaid() string {
	d := f.drawing()
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, n := range d.nodes {
		shape := [2]string{"([", "])"}
		switch {
		case n.step:
			shape = [2]string{"[", "]"}
		case n.clock:
			shape = [2]string{"((", "))"}
		}
		fmt.Fprintf(&b, "  %s%s\"%s\"%s\n", n.id, shape[0], strings.ReplaceAll(n.label, `"`, "&quot;"), shape[1])
	}
	for _, e := range d.edges {
		arrow := "-->"
		switch e.link { //nolint:exhaustive // The others are plain.
		case LinkDirect:
			arrow = "==>"
		case LinkError, LinkBestEffort:
			arrow = "-.->"
		}
		if e.label == "" {
			fmt.Fprintf(&b, "  %s %s %s\n", e.from, arrow, e.to)
			continue
		}
		fmt.Fprintf(&b, "  %s %s|\"%s\"| %s\n", e.from, arrow, strings.ReplaceAll(e.label, `"`, "&quot;"), e.to)
	}
	return b.String()
}

// DOT draws the flow for Graphviz.
func (f *Flow) DOT() string {
	d := f.drawing()
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  rankdir=LR;\n", strconv.Quote(f.name))
	for _, n := range d.nodes {
		shape := "ellipse"
		switch {
		case n.step:
			shape = "box"
		case n.clock:
			shape = "circle"
		}
		fmt.Fprintf(&b, "  %s [shape=%s, label=%s];\n", n.id, shape, strconv.Quote(strings.ReplaceAll(n.label, "<br/>", "\n")))
	}
	for _, e := range d.edges {
		style := "solid"
		switch e.link { //nolint:exhaustive // The others are plain.
		case LinkDirect:
			style = "bold"
		case LinkError, LinkBestEffort:
			style = "dashed"
		}
		fmt.Fprintf(&b, "  %s -> %s [style=%s, label=%s];\n", e.from, e.to, style, strconv.Quote(e.label))
	}
	b.WriteString("}\n")
	return b.String()
}

type drawnNode struct {
	id, label   string
	step, clock bool
}

type drawnEdge struct {
	from, to, label string
	link            Link
}

type drawing struct {
	nodes []drawnNode
	edges []drawnEdge
	ids   map[string]string
}

// drawing numbers the nodes in the order of the steps, so that a drawing changes as little as the flow.
func (f *Flow) drawing() *drawing {
	d := &drawing{ids: map[string]string{}}
	for _, s := range f.steps {
		label := s.name
		if s.shape.Pattern != "" {
			label += "<br/>" + s.shape.Pattern
		}
		d.node(stepNode+s.name, drawnNode{label: label, step: true})
	}
	for _, e := range f.Edges() {
		for _, n := range [2]string{e.From, e.To} {
			switch {
			case strings.HasPrefix(n, topicNode):
				d.node(n, drawnNode{label: strings.TrimPrefix(n, topicNode)})
			case strings.HasPrefix(n, clockNode):
				d.node(n, drawnNode{label: e.Name, clock: true})
			}
		}
		label := e.Name
		if e.Link == LinkTime {
			label = ""
		}
		d.edges = append(d.edges, drawnEdge{from: d.ids[e.From], to: d.ids[e.To], label: label, link: e.Link})
	}
	return d
}

func (d *drawing) node(name string, n drawnNode) {
	if _, ok := d.ids[name]; ok {
		return
	}
	n.id = "n" + strconv.Itoa(len(d.nodes)+1)
	d.ids[name] = n.id
	d.nodes = append(d.nodes, n)
}
