package docs

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A snippet is a Go fence that is no quote.
type snippet struct {
	page, name string // the name is its directory's
	text       string
	program    bool
	prints     string // a program's output
}

func snippets(t *testing.T) (all []snippet) {
	t.Helper()
	for _, p := range pages(t) {
		fences := p.fences()
		for i, f := range fences {
			if f.lang != "go" || f.kind != "" {
				continue
			}
			s := snippet{page: p.name, name: fmt.Sprintf("s%02d", len(all)), text: f.text, program: strings.HasPrefix(f.text, "package main")}
			if s.program {
				if i+1 == len(fences) || fences[i+1].lang != "text" {
					t.Fatalf("%s: a program is followed by no fence with what it prints", p.name)
				}
				s.prints = fences[i+1].text
			}
			all = append(all, s)
		}
	}
	return all
}

// TestSnippetsBuildAndRun builds every Go fence that is no quote in a module outside of this one, as a
// user would, and runs it. Whole programs must print the block that follows them.
func TestSnippetsBuildAndRun(t *testing.T) {
	all := snippets(t)
	dir := userModule(t)
	for _, s := range all {
		text := s.text
		if !s.program {
			text = s.framed(t)
		} else if neat, err := format.Source([]byte(text)); err != nil || string(neat) != text {
			t.Errorf("%s: its program is not as gofmt writes it: %v", s.page, err)
		}
		if err := os.Mkdir(filepath.Join(dir, s.name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, s.name, "main.go"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "bin") + string(filepath.Separator)
	if _, err := command(t, dir, "go", "build", "-o", bin, "./..."); err != nil {
		t.Fatalf("%v\n%s", err, where(all))
	}
	for _, s := range all {
		out, err := command(t, dir, bin+s.name)
		if err != nil {
			t.Errorf("%s: %v, in\n%s", s.page, err, s.text)
		}
		if s.program && out != s.prints {
			t.Errorf("%s: its program prints\n%s\nand not\n%s", s.page, out, s.prints)
		}
	}
	program := func(s snippet) bool { return s.program }
	if !slices.ContainsFunc(all, program) || !slices.ContainsFunc(all, func(s snippet) bool { return !s.program }) {
		t.Errorf("no program or no fragment among %d snippets: the test looks at the wrong blocks", len(all))
	}
}

func where(all []snippet) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%s is in %s\n", s.name, s.page)
	}
	return b.String()
}

// framed puts a fragment into a program that has what it speaks of.
func (s snippet) framed(t *testing.T) string {
	t.Helper()
	frame, err := os.ReadFile("testdata/fragment.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(frame), "//FRAGMENT", s.text+s.uses(t), 1)
}

// uses uses, at the end of a fragment, the variables that it declares: a reader knows what they are for.
// An error that is left is the program's.
func (s snippet) uses(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), s.page, "package p\nfunc f() {\n"+s.text+"\n}", parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("%s: %v, in\n%s", s.page, err, s.text)
	}
	var b strings.Builder
	body := file.Decls[0].(*ast.FuncDecl).Body
	for _, st := range body.List {
		a, ok := st.(*ast.AssignStmt)
		if !ok || a.Tok != token.DEFINE {
			continue
		}
		for _, x := range a.Lhs {
			id, ok := x.(*ast.Ident)
			switch {
			case !ok || id.Name == "_":
			case id.Name == "err":
				b.WriteString("if err != nil {\nreturn err\n}\n")
			default:
				b.WriteString("_ = " + id.Name + "\n")
			}
		}
	}
	return b.String()
}

// userModule makes a module as a user has it, with the library replaced by this tree.
func userModule(t *testing.T) string {
	t.Helper()
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	requires := strings.SplitN(string(mod), "\n", 2)[1]
	user := "module example.com/shop\n" + requires +
		"\nrequire github.com/leat-go/leat v0.0.0\nreplace github.com/leat-go/leat => " + here + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(user), 0o600); err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func command(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %v: %w\n%s", path.Base(name), args, err, said.String())
	}
	return out.String(), nil
}
