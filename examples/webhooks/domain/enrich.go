package domain

import (
	"path"
	"slices"
	"strings"
)

// Enrich adds what can be said of an activity by looking at it: weight, labels, short commit ids,
// languages. Enriching twice changes nothing. It leaves what it was given as it was.
func Enrich(a Activity) Activity {
	a.Weight = weight(&a)
	a.Labels = labels(&a)
	if len(a.Commits) == 0 {
		return a
	}
	languages := slices.Clone(a.Languages)
	a.Commits = slices.Clone(a.Commits)
	for i := range a.Commits {
		c := &a.Commits[i]
		c.Short = short(c.SHA)
		for _, f := range c.Files {
			if l := language(f); l != "" && !slices.Contains(languages, l) {
				languages = append(languages, l)
			}
		}
	}
	slices.Sort(languages)
	a.Languages = languages
	return a
}

// weight says how much an activity deserves a look, 1 to 5.
func weight(a *Activity) int {
	switch {
	case a.Family == Security:
		return 5
	case failed(a.State), a.State == "forced":
		return 4
	case a.State == "merged", a.Event == "release", a.Event == "push":
		return 3
	case a.Family == Community:
		return 1
	case a.Family == Automation, a.Event == "ping":
		return 1
	}
	return 2
}

func labels(a *Activity) []string {
	ls := make([]string, 0, 4)
	ls = append(ls, string(a.Family))
	if strings.HasSuffix(a.Actor, "[bot]") {
		ls = append(ls, "bot")
	}
	if failed(a.State) {
		ls = append(ls, "failed")
	}
	switch a.State {
	case "forced", "merged", "deleted":
		ls = append(ls, a.State)
	}
	if len(a.Commits) > 0 && strings.HasPrefix(strings.ToLower(a.Commits[0].Message), "merge ") {
		ls = append(ls, "merge")
	}
	slices.Sort(ls)
	return ls
}

func failed(state string) bool {
	switch state {
	case "failure", "error", "timed_out", "errored", "action_required":
		return true
	}
	return false
}

// short gives a commit id as people write it.
func short(sha string) string {
	const digits = 7
	if len(sha) <= digits {
		return sha
	}
	return clip(sha[:digits], digits)
}

// language guesses by the file's ending, "" for what is no programming language.
func language(file string) string {
	switch strings.ToLower(path.Ext(file)) {
	case ".go":
		return "Go"
	case ".rs":
		return "Rust"
	case ".py":
		return "Python"
	case ".js", ".mjs", ".cjs":
		return "JavaScript"
	case ".ts", ".tsx":
		return "TypeScript"
	case ".java":
		return "Java"
	case ".c", ".h":
		return "C"
	case ".cc", ".cpp", ".hpp":
		return "C++"
	case ".rb":
		return "Ruby"
	case ".sh":
		return "Shell"
	case ".sql":
		return "SQL"
	case ".html":
		return "HTML"
	case ".css":
		return "CSS"
	}
	return ""
}
