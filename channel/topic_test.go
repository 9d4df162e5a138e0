package channel

import (
	"reflect"
	"strings"
	"testing"
)

func TestTopicAddress(t *testing.T) {
	name, body := Topic[item]("items").Address()
	if name != "items" || body != reflect.TypeFor[item]() {
		t.Errorf("%s, %v", name, body)
	}
}

func TestIsPattern(t *testing.T) {
	for topic, want := range map[string]bool{"": false, "replies": false, "replies.*": true, "*": true, "a*b": true} {
		if IsPattern(topic) != want {
			t.Errorf("%q stands for many: %t", topic, !want)
		}
	}
}

// naiveMatch tries every length for each star.
func naiveMatch(pattern, topic string) bool {
	if pattern == "" {
		return topic == ""
	}
	if pattern[0] == '*' {
		return naiveMatch(pattern[1:], topic) || topic != "" && naiveMatch(pattern, topic[1:])
	}
	return topic != "" && topic[0] == pattern[0] && naiveMatch(pattern[1:], topic[1:])
}

var matches = []struct {
	pattern, topic string
	want           bool
}{
	{"", "", true},
	{"", "a", false},
	{"a", "a", true},
	{"a", "A", false},
	{"*", "", true},
	{"*", "a.b", true},
	{"replies.*", "replies.", true},
	{"replies.*", "replies.7.x", true},
	{"replies.*", "replies", false},
	{"*.dead", "orders.dead", true},
	{"*.dead", "orders.dead.1", false},
	{"a*a", "a", false},
	{"a*a", "aa", true},
	{"*ab*b", "abab", true},
	{"a*b*c", "abcbc", true},
	{"a*b*c", "acb", false},
	{"**", "x", true},
}

func TestMatchTopic(t *testing.T) {
	for _, c := range matches {
		if MatchTopic(c.pattern, c.topic) != c.want || naiveMatch(c.pattern, c.topic) != c.want {
			t.Errorf("%q names %q: %t", c.pattern, c.topic, !c.want)
		}
	}
	for seed, rnd := range seeds(t, 50_000) {
		text := func(letters string) string {
			b := make([]byte, rnd.IntN(9))
			for i := range b {
				b[i] = letters[rnd.IntN(len(letters))]
			}
			return string(b)
		}
		pattern, topic := text("ab*"), text("ab")
		if got, want := MatchTopic(pattern, topic), naiveMatch(pattern, topic); got != want {
			t.Fatalf("seed %d: %q names %q: %t, want %t", seed, pattern, topic, got, want)
		}
	}
}

func FuzzMatchTopic(f *testing.F) {
	for _, c := range matches {
		f.Add(c.pattern, c.topic)
	}
	f.Fuzz(func(t *testing.T, pattern, topic string) {
		if strings.Count(pattern, "*") > 5 || len(topic) > 40 {
			return // the naive one takes too long
		}
		if got, want := MatchTopic(pattern, topic), naiveMatch(pattern, topic); got != want {
			t.Fatalf("%q names %q: %t, want %t", pattern, topic, got, want)
		}
	})
}
