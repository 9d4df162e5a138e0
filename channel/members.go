package channel

import (
	"net/url"
	"strings"
)

// MaxMembers is how many members HeaderMembers tells of; of more it has the number alone.
const MaxMembers = 128

// Carried gives the headers by which what is not in the message's own travels with it, nil if nothing does: see
// Carrier.
func (m Message[T]) Carried() Fields {
	if m.env == nil || m.env.carry == nil {
		return nil
	}
	return m.env.carry(m.env)
}

// AddMember gives the value of HeaderMembers with the n-th member added, from 0. Beyond MaxMembers it is as it was.
// Long values, such as baggage, are not kept: what links members needs none.
func AddMember(members string, n int, carried Fields) string {
	if n >= MaxMembers {
		return members
	}
	const long = 512
	var b strings.Builder
	b.Grow(len(members) + 96)
	b.WriteString(members)
	if n > 0 {
		b.WriteByte(' ')
	}
	first := true
	for _, f := range carried {
		if len(f.Value) > long || f.Name == "baggage" || f.Name == HeaderHistory {
			continue
		}
		if !first {
			b.WriteByte('&')
		}
		first = false
		b.WriteString(url.QueryEscape(f.Name) + "=" + url.QueryEscape(f.Value))
	}
	return b.String()
}

// Members reads HeaderMembers: what the members that it tells of carried.
func Members(members string) (carried []Fields) {
	if members == "" {
		return nil
	}
	for one := range strings.SplitSeq(members, " ") {
		var fs Fields
		for pair := range strings.SplitSeq(one, "&") {
			name, value, ok := strings.Cut(pair, "=")
			if !ok {
				continue
			}
			name, err := url.QueryUnescape(name)
			if err != nil {
				continue
			}
			if value, err = url.QueryUnescape(value); err == nil {
				fs = append(fs, Field{name, value})
			}
		}
		carried = append(carried, fs)
	}
	return carried
}
