package docs

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

var update = flag.Bool("update", false, "rewrite quotes, pictures, traces and the links of tests")

// A page is a Markdown file.
type page struct {
	name string // from the root, with slashes
	text string
}

// pages reads README.md and everything below docs.
func pages(t *testing.T) (all []page) {
	t.Helper()
	names := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			name, _ := filepath.Rel(root, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page{name, string(text)})
	}
	return all
}

// patternPages are those of one pattern each.
func patternPages(t *testing.T) []page {
	t.Helper()
	return slices.DeleteFunc(pages(t), func(p page) bool {
		return !strings.HasPrefix(p.name, "docs/patterns/") || p.name == index
	})
}

// A fence is a fenced block, and the comment above it that says what it is made of.
type fence struct{ kind, source, lang, text string }

var fenced = regexp.MustCompile("(?ms)^(?:<!-- (code|picture|trace): ([^\n]*?) -->\n\n?)?^```(\\w*)\n(.*?)^```$")

func (p page) fences() (all []fence) {
	for _, m := range fenced.FindAllStringSubmatch(p.text, -1) {
		all = append(all, fence{m[1], m[2], m[3], m[4]})
	}
	return all
}

// prose is the page without its fences.
func (p page) prose() string { return fenced.ReplaceAllString(p.text, "") }

var heading = regexp.MustCompile(`(?m)^(#+) (.+)$`)

// sections gives the text below each heading of the second level, by the heading, and their order.
func (p page) sections() (order []string, text map[string]string) {
	text = map[string]string{}
	for _, part := range regexp.MustCompile(`(?m)^## `).Split(p.text, -1)[1:] {
		title, rest, _ := strings.Cut(part, "\n")
		order = append(order, title)
		text[title] = rest
	}
	return order, text
}

// TestFencesAreWellFormed: a fence that the tests do not see is a fence that nobody checks.
func TestFencesAreWellFormed(t *testing.T) {
	for _, p := range pages(t) {
		lines := 0
		for line := range strings.Lines(p.text) {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				lines++
			}
		}
		fences := p.fences()
		if lines != 2*len(fences) {
			t.Errorf("%s: %d lines begin with ```, and the tests see %d fences: begin each at its line's first column", p.name, lines, len(fences))
		}
		seen := 0
		for _, f := range fences {
			if f.kind != "" {
				seen++
			}
		}
		if n := strings.Count(p.text, "<!--"); n != seen {
			t.Errorf("%s: %d comments, of which %d say what the fence below is made of: write code, picture or trace", p.name, n, seen)
		}
	}
}
