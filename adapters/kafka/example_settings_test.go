package kafka_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	row    = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]*) \\|")
	zeroIs = regexp.MustCompile(`\b0: (.+?)\.(?:\s|$)`)
)

// TestDocsHaveEverySetting: the page has a row for each field of the configs and for nothing else, and where the
// field says what 0 means, the row says the same.
func TestDocsHaveEverySetting(t *testing.T) {
	page, err := os.ReadFile("../../docs/adapters/kafka.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, name := range map[string]string{
		"cluster.go": "Cluster", "subscriber_config.go": "SubscriberConfig", "publisher_config.go": "PublisherConfig",
	} {
		_, table, ok := strings.Cut(string(page), "\n| `"+name+"` | default |")
		if !ok {
			t.Fatalf("the page has no table of %s", name)
		}
		table, _, _ = strings.Cut(table, "\n\n")
		rows := map[string]string{}
		for _, m := range row.FindAllStringSubmatch(table, -1) {
			rows[m[1]] = m[2]
		}
		for field, comment := range fieldsOf(t, file, name) {
			said, ok := rows[field]
			delete(rows, field)
			m := zeroIs.FindStringSubmatch(comment)
			switch {
			case !ok:
				t.Errorf("%s.%s has no row", name, field)
			case m != nil && m[1] != said:
				t.Errorf("%s.%s: the page says %q, the code %q", name, field, said, m[1])
			}
		}
		for field := range rows {
			t.Errorf("%s has no field %s", name, field)
		}
	}
}

// fieldsOf gives the comments of a struct's fields, in one line each.
func fieldsOf(t *testing.T, file, name string) map[string]string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	ast.Inspect(tree, func(n ast.Node) bool {
		s, ok := n.(*ast.TypeSpec)
		if !ok || s.Name.Name != name {
			return true
		}
		for _, f := range s.Type.(*ast.StructType).Fields.List {
			for _, id := range f.Names {
				fields[id.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
			}
		}
		return false
	})
	if len(fields) == 0 {
		t.Fatalf("%s has no struct %s", file, name)
	}
	return fields
}
