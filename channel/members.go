package channel

import (
	"net/url"
	"strconv"
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

// AddMember gives the value of HeaderMembers with one member more. Long values, such as baggage, are not
// kept: what links members needs none.
func AddMember(members string, carried Fields) string {
	const long = 512
	n, rest, _ := strings.Cut(members, " ")
	count, _ := strconv.Atoi(n)
	var b strings.Builder
	b.Grow(len(members) + 96)
	b.WriteString(strconv.Itoa(count + 1))
	if rest != "" {
		b.WriteString(" " + rest)
	}
	if strings.Count(rest, " ")+1 >= MaxMembers && rest != "" {
		return b.String()
	}
	sep := byte(' ')
	for _, f := range carried {
		if len(f.Value) > long || f.Name == "baggage" || f.Name == HeaderHistory {
			continue
		}
		b.WriteByte(sep)
		b.WriteString(url.QueryEscape(f.Name) + "=" + url.QueryEscape(f.Value))
		sep = '&'
	}
	return b.String()
}

// Members reads HeaderMembers: how many members there are, and what those that it tells of carried.
func Members(members string) (n int, carried []Fields) {
	count, rest, _ := strings.Cut(members, " ")
	n, _ = strconv.Atoi(count)
	if rest == "" {
		return max(n, 0), nil
	}
	for one := range strings.SplitSeq(rest, " ") {
		var fs Fields
		for pair := range strings.SplitSeq(one, "&") {
			name, value, _ := strings.Cut(pair, "=")
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
	return max(n, len(carried)), carried
}
