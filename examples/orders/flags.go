package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// A config is what the command line says.
type config struct {
	Orders   string // a file, "-" for stdin, "": the built-in sample
	NoRepair bool
	Graph    bool
	Trace    bool
	Times    bool
}

const usage = `Orders takes orders for widgets and gadgets and says what becomes of each.

	orders                 eight orders that are built in
	orders -orders FILE    yours, JSON Lines {"id": "1", "lines": [{"item": "W1", "quantity": 2}]}
	orders -orders -       the same from stdin
	orders -trace          where each order went
	orders -graph          the flow as a Mermaid graph

In stock are W1, W2 and W3, G1, G2, which is slow to answer, and G13, whose record is broken. W3 is scarce.
Exit code 0: every order is accounted for; 1: not, or something broke; 2: bad flags, an unreadable input.

Flags:
`

// parseFlags reads the command line. Its error is one line; flag.ErrHelp after the usage was written to help.
func parseFlags(args []string, help io.Writer) (config, error) {
	var c config
	fs := flag.NewFlagSet("orders", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&c.Orders, "orders", "", "`file` of JSON Lines, - for stdin")
	fs.BoolVar(&c.NoRepair, "no-repair", false, "leave what died in the dead letter")
	fs.BoolVar(&c.Graph, "graph", false, "print the flow as a Mermaid graph and end")
	fs.BoolVar(&c.Trace, "trace", false, "draw the trace of each order in the end")
	fs.BoolVar(&c.Times, "times", false, "with -trace: how long everything took")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprint(help, usage)
		fs.SetOutput(help)
		fs.PrintDefaults()
		return c, flag.ErrHelp
	}
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q: name a file with -orders", strings.Join(fs.Args(), " "))
	}
	if err == nil && c.Times && !c.Trace {
		err = errors.New("-times is for -trace")
	}
	if err != nil {
		return c, fmt.Errorf("%s (-help lists the flags)", strings.Join(strings.Fields(err.Error()), " "))
	}
	return c, nil
}
