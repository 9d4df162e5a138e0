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
		list = AddMember(list, Fields{
			{"traceparent", fmt.Sprint("00-", i, " & = %")}, {"baggage", "secret"}, {"tracestate", strings.Repeat("x", 600)},
		})
	}
	n, carried := Members(list)
	if n != MaxMembers+10 || len(carried) != MaxMembers {
		t.Fatalf("%d members, %d of them told of; want %d and %d", n, len(carried), MaxMembers+10, MaxMembers)
	}
	for i, fs := range carried {
		if want := (Fields{{"traceparent", fmt.Sprint("00-", i, " & = %")}}); !slices.Equal(fs, want) {
			t.Fatalf("member %d carried %v; want %v", i, fs, want)
		}
	}
	if n, carried := Members(AddMember("", nil)); n != 1 || carried != nil {
		t.Fatalf("a member that carries nothing: %d, %v", n, carried)
	}
}

func FuzzMembers(f *testing.F) {
	f.Add("3 traceparent=00-1 a=%zz")
	f.Add("-7 ")
	f.Fuzz(func(t *testing.T, s string) {
		n, carried := Members(s)
		if n < len(carried) {
			t.Fatalf("%d members, and %d are told of", n, len(carried))
		}
		if m, _ := Members(AddMember(s, Fields{{"a", "b"}})); m < 1 {
			t.Fatalf("%d members after one was added", m)
		}
	})
}
