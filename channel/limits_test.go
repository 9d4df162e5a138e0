package channel

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	fields := func(n, size int) (fs Fields) { // size is that of name and value together
		for i := range n {
			name := "h" + strconv.Itoa(100+i)
			fs = append(fs, Field{name, strings.Repeat("s", size-len(name))})
		}
		return fs
	}
	small := Limits{Body: 3, Headers: 2, Header: 10, HeaderBytes: 15}
	for _, c := range []struct {
		name   string
		limits Limits
		body   int
		fields Headers
		want   string
	}{
		{"nothing", Limits{}, 0, nil, ""},
		{"the largest body", Limits{}, 1_000_000, nil, ""},
		{"a body too large", Limits{}, 1_000_001, nil, "payload has 1000001 bytes, the limit is 1000000: raise Limits.Body or send a claim check"},
		{"a body too large for a limit of its own", small, 4, nil, "payload has 4 bytes, the limit is 3"},
		{"the most headers", Limits{}, 0, fields(64, 10), ""},
		{"a header too many", Limits{}, 0, fields(65, 10), "more than 64 headers or 32768 bytes of them"},
		{"the largest header", Limits{}, 0, fields(1, 8<<10), ""},
		{"a header too large", Limits{}, 0, fields(1, 8<<10+1), `header "h100" has 8193 bytes, the limit is 8192`},
		{"the most bytes", Limits{}, 0, fields(4, 8<<10), ""},
		{"bytes too many", Limits{}, 0, fields(5, 8<<10), "more than 64 headers or 32768 bytes of them"},
		{"within small", small, 3, fields(1, 10), ""},
		{"beyond small", small, 3, fields(2, 8), "more than 2 headers or 15 bytes of them"},
		{"a long name is cut", small, 0, Fields{{strings.Repeat("n", 500), ""}}, `header "` + strings.Repeat("n", 64) + `" has 500 bytes`},
	} {
		err := c.limits.Check(make([]byte, c.body), c.fields)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.Is(err, ErrTooLarge) || !IsPermanent(err) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "sss"):
			t.Errorf("%s: quotes a value: %v", c.name, err)
		}
	}
}
