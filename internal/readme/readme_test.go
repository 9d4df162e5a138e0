package readme

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
)

const root = "../.."

var block = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// A snippet is one fenced block of the README.
type snippet struct{ lang, text string }

func snippets(t *testing.T) (all []snippet) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		all = append(all, snippet{m[1], m[2]})
	}
	return all
}

// TestSnippetsBuildAndRun builds every Go snippet in a module outside of this one, as a user would, and
// runs it. Whole programs must print the block that follows them.
func TestSnippetsBuildAndRun(t *testing.T) {
	frame, err := os.ReadFile("testdata/fragment.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := snippets(t)
	dir := userModule(t)
	programs, fragments := 0, 0
	for i, s := range all {
		if s.lang != "go" {
			continue
		}
		program, want := s.text, ""
		if strings.HasPrefix(s.text, "package main") {
			programs++
			want = all[i+1].text
		} else {
			fragments++
			body := s.text
			if !strings.Contains(body, "return ") {
				body += "\n_ = h\nreturn err\n"
			}
			program = strings.Replace(string(frame), "//FRAGMENT", body, 1)
		}
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		out := command(t, dir, "go", "run", ".")
		if want != "" && out != want {
			t.Errorf("the README's program prints\n%s\nand not\n%s", out, want)
		}
	}
	if programs != 1 || fragments != 3 {
		t.Errorf("found %d programs and %d fragments, want 1 and 3: the test looks at the wrong blocks", programs, fragments)
	}
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

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "main.go"))
		t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, said.String(), text)
	}
	return out.String()
}

// TestThreeWayRouterIsShort: with its dead letter it takes at most 12 lines.
func TestThreeWayRouterIsShort(t *testing.T) {
	for _, s := range snippets(t) {
		if s.lang != "go" || !strings.Contains(s.text, "router.Otherwise(Rest)") {
			continue
		}
		if n := strings.Count(s.text, "\n"); n > 12 {
			t.Errorf("it takes %d lines", n)
		}
		return
	}
	t.Error("the README has no three-way router")
}

type order struct{ Region string }

// TestPictureIsTheFlows: the README's Mermaid picture is what the flow above it draws.
func TestPictureIsTheFlows(t *testing.T) {
	const incoming, eu, us, rest channel.Topic[order] = "orders", "orders.eu", "orders.us", "orders.rest"
	from := func(region string) func(order) bool { return func(o order) bool { return o.Region == region } }
	f, err := flow.New("orders",
		flow.Step("by-region", incoming, router.Content(
			router.When("eu", from("EU"), eu),
			router.When("us", from("US"), us),
			router.Otherwise(rest),
		)),
		flow.Policy{Attempts: 3, DeadLetter: "orders.dead"},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range snippets(t) {
		if s.lang == "mermaid" {
			if got := f.Mermaid(); got != s.text {
				t.Errorf("the flow draws\n%s\nand the README has\n%s", got, s.text)
			}
			return
		}
	}
	t.Error("the README has no picture")
}
