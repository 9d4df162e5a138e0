package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

func TestAccountingLine(t *testing.T) {
	for _, c := range []struct {
		c    counts
		want string
	}{
		{counts{}, "accounting: received=0 done=0 filtered=0 duplicate=0 invalid=0 expired=0 dead=0 in_flight=0 balanced"},
		{counts{21, 1, 2, 3, 4, 5, 6, 0}, "accounting: received=21 done=1 filtered=2 duplicate=3 invalid=4 expired=5 dead=6 in_flight=0 balanced"},
		{counts{Received: 2, Done: 1}, "accounting: received=2 done=1 filtered=0 duplicate=0 invalid=0 expired=0 dead=0 in_flight=0 unbalanced"},
		{counts{Received: 1, Done: 2}, "accounting: received=1 done=2 filtered=0 duplicate=0 invalid=0 expired=0 dead=0 in_flight=0 unbalanced"},
		{counts{Received: 2, Done: 1, InFlight: 1}, "accounting: received=2 done=1 filtered=0 duplicate=0 invalid=0 expired=0 dead=0 in_flight=1 unbalanced"},
	} {
		if got := c.c.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestSummaryTable(t *testing.T) {
	s := summary{
		Counts:   counts{Received: 10, Done: 6, Duplicate: 1, Invalid: 3},
		Families: map[domain.Family]int64{domain.Code: 4, domain.Review: 2},
		Reasons:  map[string]int64{"not JSON": 1, "empty line": 1, "wrong shape": 2},
		Digests:  2, Commits: 5, Elapsed: 2 * time.Second, Broker: "Kafka at host:1", Topics: 15,
	}
	var out bytes.Buffer
	if err := s.write(&out); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"outcome        events",
		"done           6",
		"  code         4",
		"  review       2",
		"filtered       0",
		"duplicate      1",
		"invalid        3",
		"expired        0",
		"dead           0",
		"reason         events",
		"  wrong shape  2",
		"  empty line   1",
		"  not JSON     1",
		"digests        2",
		"commits        5",
		"broker         Kafka at host:1",
		"read           15 topics, to their ends",
		"rate           5 events/s (2s)",
		"accounting: received=10 done=6 filtered=0 duplicate=1 invalid=3 expired=0 dead=0 in_flight=0 balanced",
		"",
	}, "\n")
	if out.String() != want {
		t.Fatalf("got\n%s\nwant\n%s", out.String(), want)
	}
}
