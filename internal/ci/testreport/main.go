// Command testreport reads what go test -json writes and says what a person needs to know: the
// packages as they finish, every failure in full, what was skipped, and the slowest tests.
//
//	go test -json ./... | testreport -allow .ci/allowed-skips
//
// It exits with 1 if a test failed or did not finish, if one was skipped that the list does not name (unless -lenient),
// or if none ran; with 2 if it could not read its input or the list. Its last line counts tests and
// subtests: "12 passed, 0 failed, 1 skipped".
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	const failed, unusable = 1, 2

	flags := flag.NewFlagSet("testreport", flag.ContinueOnError)
	flags.SetOutput(stderr)
	list := flags.String("allow", "", "`file` that names the tests that may be skipped")
	lenient := flags.Bool("lenient", false, "tell of other skipped tests, and do not fail for them")
	if err := flags.Parse(args); err != nil {
		return unusable
	}
	allowed, err := readAllowed(*list)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "testreport:", err)
		return unusable
	}
	r := newReport(stdout, allowed)
	r.lenient = *lenient
	if err := r.read(stdin); err != nil {
		_, _ = fmt.Fprintln(stderr, "testreport:", err)
		return unusable
	}
	if !r.finish() {
		return failed
	}
	return 0
}
