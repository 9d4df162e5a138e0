package docs

import (
	"regexp"
	"strings"
	"testing"
)

// design speaks of what is to come, and of tests by the beginning of their names.
const design = "docs/design.md"

var (
	inline   = regexp.MustCompile("`[^`\n]+`")
	ours     = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	ofSpans  = regexp.MustCompile("`(eip\\.[a-z_.]+)`")
	typeHead = regexp.MustCompile("^\\| `([a-z]+)\\.([A-Z]\\w*)` \\|")
	option   = regexp.MustCompile("`([A-Za-z]+)[^`]*`")
)

// TestNamesExist: what a page calls by a name of ours, in the text or in a table of options, is exported
// by that package.
func TestNamesExist(t *testing.T) {
	c := readCode(t)
	for _, p := range pages(t) {
		if p.name == design {
			continue
		}
		for _, span := range inline.FindAllString(p.prose(), -1) {
			for _, m := range ours.FindAllStringSubmatch(span, -1) {
				names := c.names[m[1]]
				switch {
				case names == nil: // a variable, or a package of others
				case !names[m[2]] && !hasMember(names, m[2]):
					t.Errorf("%s: %s: package %s has no %s", p.name, span, m[1], m[2])
				case m[3] != "" && !names[m[2]+"."+m[3]]:
					t.Errorf("%s: %s: %s.%s has no %s", p.name, span, m[1], m[2], m[3])
				}
			}
		}
	}
}

// hasMember reports that a type of the package has the name: flow.Run is Flow's.
func hasMember(names map[string]bool, name string) bool {
	for n := range names {
		if strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}

// TestOptionsExist: a table whose head is a type lists fields or methods of it.
func TestOptionsExist(t *testing.T) {
	c := readCode(t)
	tables := 0
	for _, p := range pages(t) {
		lines := strings.Split(p.prose(), "\n")
		var pkg, typ string
		for i, line := range lines {
			if head := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|---"); head || !strings.HasPrefix(line, "|") {
				pkg, typ = "", ""
				if m := typeHead.FindStringSubmatch(line); m != nil {
					pkg, typ = m[1], m[2]
					tables++
				}
				continue
			}
			cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
			for _, m := range option.FindAllStringSubmatch(cell, -1) {
				if typ != "" && !c.names[pkg][typ+"."+m[1]] {
					t.Errorf("%s: %s.%s has no option %s", p.name, pkg, typ, m[1])
				}
			}
		}
	}
	if tables == 0 {
		t.Error("no page has a table of options: the test looks at nothing")
	}
}

// TestSpanAttributesExist: what a page says of a trace is what package tracing writes.
func TestSpanAttributesExist(t *testing.T) {
	c := readCode(t)
	var all strings.Builder
	for name, s := range c.files {
		if strings.HasPrefix(name, "tracing/") && !strings.HasSuffix(name, "_test.go") {
			all.Write(s.text)
		}
	}
	for _, p := range pages(t) {
		for _, m := range ofSpans.FindAllStringSubmatch(p.prose(), -1) {
			if !strings.Contains(all.String(), `"`+m[1]+`"`) {
				t.Errorf("%s: package tracing has no attribute %s", p.name, m[1])
			}
		}
	}
}
