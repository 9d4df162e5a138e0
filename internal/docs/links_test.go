package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const index = "docs/patterns/README.md"

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	external = regexp.MustCompile(`^(https?|mailto):`)
)

// TestLinksLeadSomewhere: to a file or a directory of the repository, and to a heading of the page.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, p := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(p.prose(), -1) {
			if external.MatchString(m[1]) {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			to := path.Join(path.Dir(p.name), file)
			if file == "" {
				to = p.name
			}
			if strings.HasPrefix(to, "..") {
				t.Errorf("%s: the link %s leads out of the repository", p.name, m[1])
				continue
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: the link %s leads nowhere: %v", p.name, m[1], err)
				continue
			}
			if anchor != "" && !anchors(t, to)[anchor] {
				t.Errorf("%s: the link %s leads to no heading", p.name, m[1])
			}
		}
	}
}

// anchors are what GitHub calls the headings of a page.
func anchors(t *testing.T, name string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(page{text: string(text)}.prose(), -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
				return r
			}
			return -1
		}, strings.ToLower(m[2]))
		all[slug] = true
	}
	return all
}

// TestEveryPatternIsInTheIndex: a page that nothing leads to is not read.
func TestEveryPatternIsInTheIndex(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, index))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range link.FindAllStringSubmatch(string(text), -1) {
		file, _, _ := strings.Cut(m[1], "#")
		listed[file] = true
	}
	for _, p := range patternPages(t) {
		if !listed[path.Base(p.name)] {
			t.Errorf("%s has no line for %s", index, p.name)
		}
	}
}
