package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

// counts is the accounting: each event that was received stands under exactly one of the others.
type counts struct {
	Received  int64
	Done      int64 // in a digest
	Filtered  int64 // nothing happened: a ping
	Duplicate int64 // its delivery id was there before
	Invalid   int64 // on the invalid message channel
	Expired   int64 // nobody wants it any more
	Dead      int64 // in the dead letter
	InFlight  int64 // not finished yet: 0 after a drain
}

// balanced reports whether every event is accounted for and none is on its way.
func (c counts) balanced() bool {
	return c.InFlight == 0 && c.Received == c.Done+c.Filtered+c.Duplicate+c.Invalid+c.Expired+c.Dead
}

// String is the accounting in one line.
func (c counts) String() string {
	verdict := "balanced"
	if !c.balanced() {
		verdict = "unbalanced"
	}
	return fmt.Sprintf("accounting: received=%d done=%d filtered=%d duplicate=%d invalid=%d expired=%d dead=%d in_flight=%d %s",
		c.Received, c.Done, c.Filtered, c.Duplicate, c.Invalid, c.Expired, c.Dead, c.InFlight, verdict)
}

// A summary is what a run came to.
type summary struct {
	Counts   counts
	Families map[domain.Family]int64 // events that are in a digest
	Reasons  map[string]int64        // why events are invalid or dead
	Digests  int64
	Commits  int64
	Elapsed  time.Duration
	Broker   string // "": in memory
	Topics   int    // on the broker, seen read to their ends
}

// write writes a table whose last line is the accounting.
func (s summary) write(w io.Writer) error {
	t := new(strings.Builder)
	fmt.Fprintln(t, "outcome\tevents")
	for _, row := range []struct {
		name string
		n    int64
	}{
		{"done", s.Counts.Done},
		{"filtered", s.Counts.Filtered},
		{"duplicate", s.Counts.Duplicate},
		{"invalid", s.Counts.Invalid},
		{"expired", s.Counts.Expired},
		{"dead", s.Counts.Dead},
	} {
		fmt.Fprintf(t, "%s\t%d\n", row.name, row.n)
		if row.name == "done" {
			for _, f := range domain.Families() {
				if n := s.Families[f]; n > 0 {
					fmt.Fprintf(t, "  %s\t%d\n", f, n)
				}
			}
		}
	}
	if len(s.Reasons) > 0 {
		fmt.Fprintln(t, "reason\tevents")
		for _, r := range byCount(s.Reasons) {
			fmt.Fprintf(t, "  %s\t%d\n", r, s.Reasons[r])
		}
	}
	fmt.Fprintf(t, "digests\t%d\n", s.Digests)
	fmt.Fprintf(t, "commits\t%d\n", s.Commits)
	if s.Broker != "" {
		fmt.Fprintf(t, "broker\t%s\n", s.Broker)
		fmt.Fprintf(t, "read\t%d topics, to their ends\n", s.Topics)
	}
	if sec := s.Elapsed.Seconds(); sec > 0 {
		fmt.Fprintf(t, "rate\t%.0f events/s (%s)\n", float64(s.Counts.Received)/sec, s.Elapsed.Round(time.Millisecond))
	}
	fmt.Fprintln(t, s.Counts)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err := io.WriteString(table, t.String())
	return errors.Join(err, table.Flush())
}

// byCount gives the keys, the most frequent first, equals by name.
func byCount(m map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
}
