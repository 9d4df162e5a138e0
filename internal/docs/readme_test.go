package docs

import (
	"slices"
	"strings"
	"testing"
)

// TestThreeWayRouterIsShort: with its dead letter it takes at most 12 lines.
func TestThreeWayRouterIsShort(t *testing.T) {
	at := slices.IndexFunc(snippets(t), func(s snippet) bool {
		return s.page == "README.md" && strings.Contains(s.text, "router.Otherwise(Rest)")
	})
	if at < 0 {
		t.Fatal("the README has no three-way router")
	}
	if n := strings.Count(snippets(t)[at].text, "\n"); n > 12 {
		t.Errorf("it takes %d lines", n)
	}
}

// TestPictureIsTheFlows: the README's Mermaid picture is what the flow above it draws.
func TestPictureIsTheFlows(t *testing.T) {
	want, err := draw("threeWayRouter")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range pages(t)[0].fences() {
		if f.lang == "mermaid" {
			if f.text != want {
				t.Errorf("the flow draws\n%s\nand the README has\n%s", want, f.text)
			}
			return
		}
	}
	t.Error("the README has no picture")
}
