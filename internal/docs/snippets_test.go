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
	var fragments []snippet
	for _, s := range all {
		text := s.text
		if !s.program {
			fragments = append(fragments, s)
			text = s.framed(t)
		} else if neat, err := format.Source([]byte(text)); err != nil || string(neat) != text {
			t.Errorf("%s: its program is not as gofmt writes it: %v", s.page, err)
		}
		write(t, filepath.Join(dir, s.name), text)
	}
	if len(fragments) == 0 || len(fragments) == len(all) {
		t.Errorf("%d of %d snippets are fragments: the test looks at the wrong blocks", len(fragments), len(all))
	}
	write(t, filepath.Join(dir, "fragments"), runner(fragments))
	bin := filepath.Join(dir, "bin") + string(filepath.Separator)
	if _, err := command(t, dir, "go", "build", "-o", bin, "./..."); err != nil {
		t.Fatalf("%v\n%s", err, where(all))
	}
	if _, err := command(t, dir, bin+"fragments"); err != nil {
		t.Errorf("%v\n%s", err, where(all))
	}
	for _, s := range all {
		if !s.program {
			continue
		}
		if out, err := command(t, dir, bin+s.name); err != nil || out != s.prints {
			t.Errorf("%s: its program prints\n%s\nand not\n%s: %v", s.page, out, s.prints, err)
		}
	}
}

func write(t *testing.T, dir, program string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runner is a program that runs every fragment: to link one is cheaper than to link each.
func runner(fragments []snippet) string {
	var imports, calls strings.Builder
	for _, s := range fragments {
		fmt.Fprintf(&imports, "import %s \"example.com/shop/%[1]s\"\n", s.name)
		fmt.Fprintf(&calls, "if err := %s.Run(); err != nil {\nlog.Fatal(\"%[1]s: \", err)\n}\n", s.name)
	}
	return "package main\nimport \"log\"\n" + imports.String() + "func main() {\n" + calls.String() + "}\n"
}

func where(all []snippet) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%s is in %s\n", s.name, s.page)
	}
	return b.String()
}

// framed puts a fragment into a package that has what it speaks of.
func (s snippet) framed(t *testing.T) string {
	t.Helper()
	frame, err := os.ReadFile("testdata/fragment.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	return prune(t, strings.Replace(string(frame), "//FRAGMENT", s.text+s.uses(t), 1))
}

// prune takes the imports out that a file does not use.
func prune(t *testing.T, program string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "main.go", program, parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("%v, in\n%s", err, program)
	}
	used := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if x, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := x.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	for _, im := range file.Imports {
		name, line := path.Base(strings.Trim(im.Path.Value, `"`)), "\t"+im.Path.Value+"\n"
		if im.Name != nil {
			name, line = im.Name.Name, "\t"+im.Name.Name+" "+im.Path.Value+"\n"
		}
		if !used[name] {
			program = strings.Replace(program, line, "", 1)
		}
	}
	return program
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
	more, err := os.ReadFile("testdata/user.mod") // what the pages use and the library does not
	if err != nil {
		t.Fatal(err)
	}
	requires := strings.SplitN(string(mod), "\n", 2)[1]
	user := "module example.com/shop\n" + requires + string(more) +
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
