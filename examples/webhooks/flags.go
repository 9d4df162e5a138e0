package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A config is what the command line says.
type config struct {
	Input         string // a file, "-" for stdin, "": the built-in sample
	Broker        string // "": in memory
	Listen        string // host:port; "": no HTTP
	Secret        string
	Repeat        int
	Graph         bool
	DigestSize    int
	DigestTimeout time.Duration
}

const usage = `Webhooks reads GitHub webhook events and writes a digest for each repository.

	webhooks                    a built-in sample
	webhooks -input FILE        JSON Lines {"event": ..., "delivery": ..., "payload": {...}}
	webhooks -input -           the same from stdin
	webhooks -listen :8080      webhook requests, until SIGINT or SIGTERM
	webhooks -broker kafka:     each hop between two steps over a Kafka in the process
	webhooks -broker kafka://host:port
	                            the same over yours, which gets the topics webhooks.*

Digests go to stdout as JSON Lines, the summary to stderr. Exit code 0: every event is accounted for;
1: not, or something broke; 2: bad flags, an unreadable input, an address that cannot be listened on.

Flags:
`

// parseFlags reads the command line. Its error is one line; flag.ErrHelp after the usage was written to
// help.
func parseFlags(args []string, getenv func(string) string, help io.Writer) (config, error) {
	var c config
	fs := flag.NewFlagSet("webhooks", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&c.Input, "input", "", "`file` of JSON Lines, - for stdin")
	fs.StringVar(&c.Broker, "broker", "", "a `URL`: kafka: or kafka://host:port/PREFIX, with PREFIX before the names of topics and groups; default: in memory")
	fs.StringVar(&c.Listen, "listen", "", "`address` to take webhook requests on; :8080 is 127.0.0.1:8080")
	fs.StringVar(&c.Secret, "secret", "", "the hook's `secret` (better: in WEBHOOKS_SECRET, which no process list shows)")
	fs.IntVar(&c.Repeat, "repeat", 1, "feed the input `n` times, each time with fresh delivery ids")
	fs.BoolVar(&c.Graph, "graph", false, "print the flow as a Mermaid graph and end")
	fs.IntVar(&c.DigestSize, "digest-size", 50, "a digest is complete at `n` activities")
	fs.DurationVar(&c.DigestTimeout, "digest-timeout", 30*time.Second, "a digest is complete so `long` after its first activity")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = fmt.Fprint(help, usage)
			fs.SetOutput(help)
			fs.PrintDefaults()
			return config{}, flag.ErrHelp
		}
		return config{}, fmt.Errorf("%s (-help lists the flags)", oneLine(err.Error()))
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["secret"] {
		c.Secret = getenv("WEBHOOKS_SECRET")
	}
	if err := errors.Join(c.check(fs.Args(), set)...); err != nil {
		return config{}, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if c.Listen != "" {
		c.Listen, _ = localAddress(c.Listen) // checked above
	}
	return c, nil
}

// check gives every mistake there is: nothing that was said is silently ignored.
func (c *config) check(rest []string, set map[string]bool) (errs []error) {
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add(len(rest) > 0, "unexpected argument %q: name a file with -input", strings.Join(rest, " "))
	add(set["input"] && c.Input == "", "-input names no file: leave it out for the built-in sample")
	add(set["listen"] && c.Listen == "", "-listen names no address: :8080, for example")
	add(set["input"] && set["listen"], "-input and -listen exclude each other")
	add(set["broker"] && c.Broker == "", "-broker names none: leave it out for one in memory")
	add(c.Repeat < 1, "-repeat is %d, want 1 or more", c.Repeat)
	add(c.Repeat > 1 && c.Input == "-", "-repeat needs a file: stdin can be read only once")
	add(set["repeat"] && set["listen"], "-repeat is for an input, not for -listen")
	add(set["secret"] && !set["listen"], "-secret is for -listen")
	add(set["secret"] && c.Secret == "", "-secret is empty: leave it out to take unsigned requests")
	add(c.DigestSize < 1, "-digest-size is %d, want 1 or more", c.DigestSize)
	add(c.DigestTimeout <= 0, "-digest-timeout is %s, want more than 0s", c.DigestTimeout)
	if c.Listen != "" {
		_, err := localAddress(c.Listen)
		add(err != nil, "-listen %s: %v", c.Listen, err)
	}
	if c.Broker != "" {
		_, _, err := kafkaAddress(c.Broker)
		add(err != nil, "-broker %s: %v", c.Broker, err)
	}
	return errs
}

// localAddress makes an address without a host one of this machine alone: who wants to be reached from
// elsewhere says so.
func localAddress(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", errors.New("want host:port or :port")
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// oneLine joins the lines of a text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
