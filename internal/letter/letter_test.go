package letter

import (
	"strings"
	"testing"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// What is refused becomes a notice, then the least one, and then nothing becomes less: whoever tries again on that goes round in
// two steps at most. Breaks if a step is left out, or said to be one that is none.
func TestShrink(t *testing.T) {
	long := strings.Repeat("käse ", 2000)
	o := &adapters.Outgoing{ID: long, Key: "k", Payload: []byte(long), Headers: channel.Fields{
		{Name: "tenant", Value: "blue"}, {Name: Prefix + "error", Value: long}, {Name: Stack, Value: "a stack"},
	}}
	copied := o.Headers
	if !Shrink(o) {
		t.Error("nothing became less at first")
	}
	if len(o.Payload) != Bytes || o.Key != "k" || o.ID != long || o.Headers.Get("tenant") != "" || o.Headers.Get(Stack) == "" || o.Headers.Get(Size) != "12000" {
		t.Errorf("the notice has %d bytes, key %q and %.200v", len(o.Payload), o.Key, o.Headers)
	}
	if copied.Get("tenant") != "blue" {
		t.Error("the headers of the message are changed")
	}
	if !Shrink(o) {
		t.Error("nothing became less when the notice was refused")
	}
	if says := o.Headers.Get(Prefix + "error"); len(o.Payload) != 0 || o.Payload == nil || o.Key != "" || len(o.ID) != 64 || len(says) > line || !strings.HasPrefix(long, says) || o.Headers.Get(Stack) != "" {
		t.Errorf("the least notice has %v, key %q, id %q and %v", o.Payload, o.Key, o.ID, o.Headers)
	}
	if was := o.ID; Shrink(o) || o.ID != was {
		t.Error("the least notice became less")
	}
}
