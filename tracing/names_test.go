package tracing_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leat-go/leat/tracing"
)

// The names of the conventions, whose constants are made of the conventions' own.
var conventions = map[string]string{
	"System": tracing.System, "OperationName": tracing.OperationName, "OperationType": tracing.OperationType,
	"Destination": tracing.Destination, "Template": tracing.Template, "ConsumerGroup": tracing.ConsumerGroup,
	"MessageID": tracing.MessageID, "Conversation": tracing.Conversation, "BatchCount": tracing.BatchCount, "ErrorType": tracing.ErrorType,
	"Partition": tracing.Partition, "Offset": tracing.Offset,
}

// constants gives the constants of names.go and their values.
func constants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if text, ok := spec.Values[i].(*ast.BasicLit); ok {
				if all[name.Name], err = strconv.Unquote(text.Value); err != nil {
					t.Fatal(err)
				}
				continue
			}
			value, known := conventions[name.Name]
			if !known {
				t.Errorf("%s is made of a constant that this test does not know", name.Name)
			}
			all[name.Name] = value
		}
		return true
	})
	delete(all, "InstrumentationName")
	return all
}

// tables gives the rows of the page's tables, by the first cell of their heads.
func tables(t *testing.T) map[string][][]string {
	t.Helper()
	page, err := os.ReadFile("../docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	all, head := map[string][][]string{}, ""
	for text := range strings.Lines(string(page)) {
		if !strings.HasPrefix(text, "|") {
			head = ""
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(text, "|\n"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		switch {
		case head == "":
			head = cells[0]
		case !strings.HasPrefix(cells[0], "---"):
			all[head] = append(all[head], cells)
		}
	}
	return all
}

// The page has every name that spans, metrics and log lines carry, and no other.
func TestDocsHaveEveryName(t *testing.T) {
	want, got := constants(t), map[string]string{}
	for _, row := range tables(t)["name"] {
		if len(row) != 5 || row[2] == "" || row[3] == "" {
			t.Errorf("the row %q does not say where it is and what it means", row)
			continue
		}
		name := strings.Trim(row[1], "`")
		if _, twice := got[name]; twice {
			t.Errorf("the page has %s twice", name)
		}
		got[name] = strings.Trim(row[0], "`")
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q; the page says %q", name, value, got[name])
		}
	}
	for name := range got {
		if _, is := want[name]; !is {
			t.Errorf("the page has %s, which names.go has not", name)
		}
	}
	if len(want) < 50 {
		t.Errorf("%d constants: the test looks at nothing", len(want))
	}
}

// Every instrument has its labels on the page.
func TestDocsHaveEveryLabel(t *testing.T) {
	code := regexp.MustCompile("`([^`]+)`")
	said := map[string]bool{}
	for _, row := range tables(t)["metric"] {
		for _, m := range code.FindAllStringSubmatch(row[0], -1) {
			said[m[1]] = true
		}
	}
	var want []string
	for _, row := range tables(t)["name"] {
		switch row[2] {
		case "histogram", "counter", "gauge":
			want = append(want, strings.Trim(row[0], "`"))
		}
	}
	if got := slices.Sorted(maps.Keys(said)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the page has the labels of %q; the instruments are %q", got, want)
	}
}
