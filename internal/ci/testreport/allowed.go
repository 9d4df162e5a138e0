package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// allowedSkips are the tests that may be skipped: package to names. A name stands for the test of that
// name wherever it is among the tests of its package, and for all its subtests: suites that come from
// elsewhere run under names of our choice and give each run a random subtest.
type allowedSkips map[string][]string

func (a allowedSkips) has(pkg, test string) bool {
	for _, name := range a[pkg] {
		if strings.Contains("/"+test+"/", "/"+name+"/") {
			return true
		}
	}
	return false
}

var errAllowedLine = errors.New("want a package and a test, as in: example.org/mod/pkg TestName")

// readAllowed reads a list: a package and a test a line; # begins a comment. No file is an empty list.
func readAllowed(file string) (allowedSkips, error) {
	if file == "" {
		return allowedSkips{}, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the list of allowed skips: %w", err)
	}
	return parseAllowed(file, string(text))
}

func parseAllowed(file, text string) (allowedSkips, error) {
	const fieldsOfLine = 2

	a := allowedSkips{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		switch fields := strings.Fields(line); len(fields) {
		case 0:
		case fieldsOfLine:
			a[fields[0]] = append(a[fields[0]], fields[1])
		default:
			return nil, fmt.Errorf("%s:%d: %w", file, n, errAllowedLine)
		}
	}
	return a, nil
}
