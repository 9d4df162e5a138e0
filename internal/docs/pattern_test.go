package docs

import (
	"slices"
	"strings"
	"testing"
)

// TestPatternPagesAreComplete: each has the same sections, an example whose output is checked, a picture
// of a real flow, the trace of an example, and a test that makes it fail.
func TestPatternPagesAreComplete(t *testing.T) {
	c := readCode(t)
	want := []string{"Question", "Picture", "Code", "Options", "When it fails", "What you see in Jaeger", "Related"}
	for _, p := range patternPages(t) {
		order, sections := p.sections()
		if !slices.Equal(order, want) {
			t.Errorf("%s: its sections are %q, want %q", p.name, order, want)
			continue
		}
		head, _, _ := strings.Cut(p.text, "\n## ")
		for _, fact := range []string{"\n- Package: ", "\n- Book: ", "\n- Watermill form: "} {
			if !strings.Contains(head, fact) {
				t.Errorf("%s: its head lacks %q", p.name, strings.TrimSpace(fact))
			}
		}
		for title, text := range sections {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: %s is empty", p.name, title)
			}
		}
		quotes, pictures := page{text: sections["Code"]}.fences(), 0
		for _, f := range (page{text: sections["Picture"]}).fences() {
			if f.kind != "picture" {
				continue
			}
			pictures++
			if !slices.ContainsFunc(quotes, func(q fence) bool { return q.kind == "code" && strings.Contains(q.text, "func "+f.source+"(") }) {
				t.Errorf("%s: it draws %s and does not show its code", p.name, f.source)
			}
		}
		if pictures == 0 {
			t.Errorf("%s: its picture is not drawn from a flow", p.name)
		}
		if !slices.ContainsFunc(quotes, isExample) {
			t.Errorf("%s: its code has no example with a checked output", p.name)
		}
		if !slices.ContainsFunc(page{text: sections["What you see in Jaeger"]}.fences(), func(f fence) bool { return f.kind == "trace" }) {
			t.Errorf("%s: it shows no trace of an example", p.name)
		}
		named := named.FindAllStringSubmatch(sections["When it fails"], -1)
		if !slices.ContainsFunc(named, func(m []string) bool { return len(c.tests[m[1]+m[3]]) > 0 }) {
			t.Errorf("%s: it names no test that makes it fail", p.name)
		}
	}
}

func isExample(f fence) bool {
	return f.kind == "code" && strings.Contains(f.text, "func Example") && strings.Contains(f.text, "\n\t// Output:")
}
