package docs

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// code is what the pages may speak of: every declaration of the module.
type code struct {
	files map[string]*source
	tests map[string][]string        // the files that have a test, by its name
	names map[string]map[string]bool // exported "Name" and "Type.Member", by package
}

type source struct {
	text  []byte
	set   *token.FileSet
	tree  *ast.File
	decls map[string]ast.Decl // by name; methods as "Type.Name"
}

func readCode(t *testing.T) *code {
	t.Helper()
	c := &code{files: map[string]*source{}, tests: map[string][]string{}, names: map[string]map[string]bool{}}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		name, _ := filepath.Rel(root, file)
		return c.read(filepath.ToSlash(name))
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *code) read(name string) error {
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return err
	}
	s := &source{text: text, set: token.NewFileSet(), decls: map[string]ast.Decl{}}
	if s.tree, _ = parser.ParseFile(s.set, name, text, parser.ParseComments|parser.SkipObjectResolution); s.tree == nil {
		return nil // that a file does not parse is the build's to say
	}
	c.files[name] = s
	for _, d := range s.tree.Decls {
		for _, n := range declared(d) {
			if s.decls[n] == nil {
				s.decls[n] = d
			}
			switch {
			case strings.HasSuffix(name, "_test.go"):
				if isTest.MatchString(n) {
					c.tests[n] = append(c.tests[n], name)
				}
			case c.names[s.tree.Name.Name] == nil:
				c.names[s.tree.Name.Name] = map[string]bool{n: true}
			default:
				c.names[s.tree.Name.Name][n] = true
			}
		}
	}
	return nil
}

var isTest = regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w*$`)

// declared gives the names that a declaration makes: of functions, methods, types with their fields and
// methods, constants and variables.
func declared(d ast.Decl) (names []string) {
	if f, ok := d.(*ast.FuncDecl); ok {
		if f.Recv == nil {
			return []string{f.Name.Name}
		}
		return []string{typeName(f.Recv.List[0].Type) + "." + f.Name.Name}
	}
	g, ok := d.(*ast.GenDecl)
	if !ok {
		return nil
	}
	for _, spec := range g.Specs {
		switch x := spec.(type) {
		case *ast.ValueSpec:
			for _, n := range x.Names {
				names = append(names, n.Name)
			}
		case *ast.TypeSpec:
			names = append(names, x.Name.Name)
			var fields *ast.FieldList
			switch y := x.Type.(type) {
			case *ast.StructType:
				fields = y.Fields
			case *ast.InterfaceType:
				fields = y.Methods
			default:
				continue
			}
			for _, f := range fields.List {
				for _, n := range f.Names {
					names = append(names, x.Name.Name+"."+n.Name)
				}
			}
		}
	}
	return names
}

func typeName(x ast.Expr) string {
	switch y := x.(type) {
	case *ast.StarExpr:
		return typeName(y.X)
	case *ast.IndexExpr:
		return typeName(y.X)
	case *ast.IndexListExpr:
		return typeName(y.X)
	case *ast.Ident:
		return y.Name
	}
	return ""
}

// quote gives the declarations that a comment names, "file Name Name": with their comments, as they are.
func (c *code) quote(what string) (string, error) {
	words := strings.Fields(what)
	if len(words) < 2 {
		return "", errors.New("say which file, and which of its declarations")
	}
	s := c.files[words[0]]
	if s == nil {
		return "", errors.New("there is no such file")
	}
	var parts []string
	var done []ast.Decl
	for _, n := range words[1:] {
		d := s.decls[n]
		if d == nil {
			return "", fmt.Errorf("the file declares no %s", n)
		}
		if slices.Contains(done, d) {
			continue
		}
		done = append(done, d)
		from := d.Pos()
		switch x := d.(type) {
		case *ast.FuncDecl:
			if x.Doc != nil {
				from = x.Doc.Pos()
			}
		case *ast.GenDecl:
			if x.Doc != nil {
				from = x.Doc.Pos()
			}
		}
		parts = append(parts, string(s.text[s.set.Position(from).Offset:s.set.Position(d.End()).Offset]))
	}
	return strings.Join(parts, "\n\n") + "\n", nil
}

var named = regexp.MustCompile("(?:\\[`((?:Test|Fuzz)[A-Z]\\w*)`\\]\\(([^)]*)\\)|`((?:Test|Fuzz)[A-Z]\\w*)`)")

// linkTests links each test that the text names to the file that has it.
func (c *code) linkTests(pageName, text string) (linked string, errs []error) {
	if pageName == design {
		return text, nil
	}
	linked = named.ReplaceAllStringFunc(text, func(s string) string {
		m := named.FindStringSubmatch(s)
		name := m[1] + m[3]
		files := c.tests[name]
		file := path.Join(path.Dir(pageName), m[2])
		switch {
		case len(files) == 0:
			errs = append(errs, fmt.Errorf("there is no test %s", name))
			return s
		case m[2] != "" && slices.Contains(files, file):
			return s
		case len(files) > 1:
			errs = append(errs, fmt.Errorf("%s is in %v: link it to one", name, files))
			return s
		}
		to, err := filepath.Rel(path.Dir(pageName), files[0])
		if err != nil {
			errs = append(errs, err)
		}
		return fmt.Sprintf("[`%s`](%s)", name, filepath.ToSlash(to))
	})
	return linked, errs
}
