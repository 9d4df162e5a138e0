package channel

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Breaks if members are lost below MaxMembers, if the list grows beyond, or if a value escapes its place.
func TestMembers(t *testing.T) {
	list := ""
	for i := range MaxMembers + 10 {
		list = AddMember(list, i, Fields{
			{"traceparent", fmt.Sprint("00-", i, " & = %")}, {"baggage", "secret"}, {"tracestate", strings.Repeat("x", 600)}, {"a", "b"},
		})
	}
	carried := Members(list)
	if len(carried) != MaxMembers {
		t.Fatalf("it tells of %d members; want %d", len(carried), MaxMembers)
	}
	for i, fs := range carried {
		if want := (Fields{{"traceparent", fmt.Sprint("00-", i, " & = %")}, {"a", "b"}}); !slices.Equal(fs, want) {
			t.Fatalf("member %d carried %v; want %v", i, fs, want)
		}
	}
	list = AddMember(AddMember("", 0, nil), 1, Fields{{"a", "b"}}) // the first carries nothing
	if carried := Members(list); len(carried) != 2 || carried[0] != nil || carried[1].Get("a") != "b" {
		t.Fatalf("%q: %v", list, carried)
	}
	full := strings.Repeat("x", 1000)
	if n := testing.AllocsPerRun(10, func() { AddMember(full, MaxMembers, Fields{{"a", "b"}}) }); n != 0 {
		t.Errorf("%v allocations for a member that is only counted", n)
	}
}

func FuzzMembers(f *testing.F) {
	f.Add("traceparent=00-1 a=%zz")
	f.Add(" ")
	f.Fuzz(func(t *testing.T, s string) {
		n := len(Members(s))
		if m := len(Members(AddMember(s, max(n, 1), Fields{{"a", "b"}}))); n < MaxMembers && m < n {
			t.Fatalf("%d members, %d after one was added", n, m)
		}
	})
}
