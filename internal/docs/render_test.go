package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPagesSayWhatTheCodeSays: quotes are the source, pictures the flow's, traces the example's, and tests
// are linked to where they are.
func TestPagesSayWhatTheCodeSays(t *testing.T) {
	c := readCode(t)
	for _, p := range pages(t) {
		want, errs := p.render(c)
		for _, err := range errs {
			t.Errorf("%s: %v", p.name, err)
		}
		switch {
		case want == p.text:
		case *update:
			if err := os.WriteFile(filepath.Join(root, p.name), []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: rewritten", p.name)
		default:
			t.Errorf("%s: %s\nrewrite it with: go test ./internal/docs -update", p.name, difference(p.text, want))
		}
	}
}

// render gives the page as it should be.
func (p page) render(c *code) (text string, errs []error) {
	text = fenced.ReplaceAllStringFunc(p.text, func(s string) string {
		m := fenced.FindStringSubmatchIndex(s)
		if m[2] < 0 {
			return s
		}
		kind, source := s[m[2]:m[3]], s[m[4]:m[5]]
		body, err := "", error(nil)
		switch kind {
		case "code":
			body, err = c.quote(source)
		case "picture":
			body, err = draw(source)
		case "trace":
			body, err = trace(source)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", kind, source, err))
			return s
		}
		return s[:m[8]] + body + s[m[9]:]
	})
	text, more := c.linkTests(p.name, text)
	return text, append(errs, more...)
}

// difference names the first line that differs.
func difference(have, want string) string {
	a, b := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n\t%s\nand the code says\n\t%s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("it has %d lines, and the code says %d", len(a), len(b))
}
