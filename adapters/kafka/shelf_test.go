package kafka

import (
	"strings"
	"testing"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// What a publisher keeps to use again is bounded, in number and in bytes, however much it has had under way. Breaks
// if a peak of large headers stays in memory for good.
func TestShelfIsBounded(t *testing.T) {
	var s shelf
	large := s.take(nil, 1)[0]
	large.fill(&adapters.Outgoing{ID: "id", Headers: channel.Fields{{Name: "name", Value: strings.Repeat("x", 8<<10)}}})
	wide := s.take(nil, 1)[0]
	wide.fill(&adapters.Outgoing{ID: "id", Headers: make(channel.Fields, 64)})
	usual := s.take(nil, 1)[0]
	usual.fill(&adapters.Outgoing{ID: "id", Headers: channel.Fields{{Name: "name", Value: "value"}}})
	s.put([]*pending{large, wide, usual})
	if cap(large.buf) > 0 || cap(wide.msg.Headers) > 0 {
		t.Errorf("%d bytes and %d headers are kept", cap(large.buf), cap(wide.msg.Headers))
	}
	if cap(usual.buf) == 0 || cap(usual.msg.Headers) == 0 {
		t.Error("nothing of a usual message is kept")
	}
	if got := s.take(nil, 1)[0]; got != usual {
		t.Error("what was put back last is not taken first")
	}
	s.put((&shelf{}).take(nil, inClient+5))
	if len(s.free) != inClient {
		t.Errorf("%d are kept, want %d", len(s.free), inClient)
	}
}
