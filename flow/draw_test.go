package flow_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// drawn is a flow with an edge of every kind.
func drawn(t *testing.T) *flow.Flow {
	t.Helper()
	tapped := channel.Out("tap", channel.Topic[parcel]("tap"))
	tapped.BestEffort = true
	return mustNew(t, "depot", quick(), flow.Prefix("staging."), flow.Direct(sorted),
		flow.Source("gate", &tap{}, flow.Policy{Redeliver: true}),
		flow.Step("by-kind", arrivals, router.Content(router.When("small", small, sorted), router.Otherwise(rejected)),
			flow.Around(guardian{shape: channel.Shape{Outlets: []channel.Outlet{tapped}}})),
		flow.Step("stick", sorted, translator.Map(stick, stickers)),
		flow.Step("pack", sorted, parcelsOf(3, &aggregator.Memory{}), flow.Group("packers"), flow.Scope("old/packer")),
		flow.Step("\"odd\"", rejected, block[parcel]{shape: channel.Shape{Outlets: []channel.Outlet{channel.Out("reply", channel.Topic[parcel]("re.*"))}}}))
}

func TestEdges(t *testing.T) {
	want := `clock pack/timeout --time timeout--> step pack
step "odd" --error --> topic dead
step "odd" --out reply--> topic re.*
step by-kind --best effort tap--> topic tap
step by-kind --direct small: sorted--> step pack
step by-kind --direct small: sorted--> step stick
step by-kind --error --> topic dead
step by-kind --out otherwise--> topic rejected
step gate --direct sorted--> step pack
step gate --direct sorted--> step stick
step gate --out --> topic arrivals
step pack --error --> topic dead
step pack --out --> topic pallets
step stick --error --> topic dead
step stick --out translated--> topic stickers
topic arrivals --in --> step by-kind
topic rejected --in --> step "odd"
`
	var got strings.Builder
	f := drawn(t)
	for _, e := range f.Edges() {
		got.WriteString(e.String() + "\n")
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	if got := f.Unread(); !slices.Equal(got, []string{"pallets", "re.*", "stickers", "tap"}) {
		t.Errorf("nobody reads %v", got)
	}
	if got := f.Unfed(); len(got) != 0 {
		t.Errorf("nobody feeds %v", got)
	}
	only := mustNew(t, "f", quick(), flow.Step("a", arrivals, router.Filter(small, sorted)))
	if in, out := only.Unfed(), only.Unread(); !slices.Equal(in, []string{"arrivals"}) || !slices.Equal(out, []string{"sorted"}) {
		t.Errorf("in %v, out %v", in, out)
	}
}

func TestMermaid(t *testing.T) {
	want := `flowchart LR
  n1["gate<br/>Gateway"]
  n2["by-kind<br/>Content-Based Router"]
  n3["stick<br/>Message Translator"]
  n4["pack<br/>Aggregator"]
  n5["&quot;odd&quot;"]
  n6(("timeout"))
  n7(["dead"])
  n8(["re.*"])
  n9(["tap"])
  n10(["rejected"])
  n11(["arrivals"])
  n12(["pallets"])
  n13(["stickers"])
  n6 --> n4
  n5 -.-> n7
  n5 -->|"reply"| n8
  n2 -.->|"tap"| n9
  n2 ==>|"small: sorted"| n4
  n2 ==>|"small: sorted"| n3
  n2 -.-> n7
  n2 -->|"otherwise"| n10
  n1 ==>|"sorted"| n4
  n1 ==>|"sorted"| n3
  n1 --> n11
  n4 -.-> n7
  n4 --> n12
  n3 -.-> n7
  n3 -->|"translated"| n13
  n11 --> n2
  n10 --> n5
`
	if got := drawn(t).Mermaid(); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestDOT(t *testing.T) {
	got := drawn(t).DOT()
	for line := range strings.SplitSeq(`digraph "depot" {
  rankdir=LR;
  n1 [shape=box, label="gate\nGateway"];
  n5 [shape=box, label="\"odd\""];
  n6 [shape=circle, label="timeout"];
  n7 [shape=ellipse, label="dead"];
  n6 -> n4 [style=solid, label=""];
  n2 -> n7 [style=dashed, label=""];
  n2 -> n9 [style=dashed, label="tap"];
  n2 -> n4 [style=bold, label="small: sorted"];
  n5 -> n8 [style=solid, label="reply"];
}`, "\n") {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("DOT lacks %s\n%s", line, got)
		}
	}
}

func TestJSON(t *testing.T) {
	f := mustNew(t, "depot", quick(), flow.Source("gate", &tap{}),
		flow.Step("pack", sorted, router.Filter(small, rejected), flow.Group("packers"), flow.Scope("old/packer")))
	want := `{
  "flow": "depot",
  "steps": [
    {
      "name": "gate",
      "pattern": "Gateway",
      "scope": "depot/gate"
    },
    {
      "name": "pack",
      "pattern": "Message Filter",
      "scope": "old/packer",
      "group": "packers"
    }
  ],
  "edges": [
    {
      "from": "step gate",
      "to": "topic dead",
      "link": "error"
    },
    {
      "from": "step gate",
      "to": "topic arrivals",
      "link": "out"
    },
    {
      "from": "step gate",
      "to": "topic sorted",
      "link": "out"
    },
    {
      "from": "step pack",
      "to": "topic dead",
      "link": "error"
    },
    {
      "from": "step pack",
      "to": "topic rejected",
      "link": "out",
      "name": "kept"
    },
    {
      "from": "topic sorted",
      "to": "step pack",
      "link": "in"
    }
  ]
}`
	if got := string(must(f.JSON())(t)); got != want {
		t.Errorf("got\n%s", got)
	}
}

// A drawing is the same whenever it is made.
func TestADrawingDoesNotChange(t *testing.T) {
	f := drawn(t)
	for range 20 {
		again := drawn(t)
		if f.Mermaid() != again.Mermaid() || f.DOT() != again.DOT() {
			t.Fatal("two drawings of one flow differ")
		}
	}
}
