package tracing

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is how many bytes of a text that comes from a message a span or a label has.
const maxText = 256

// Text makes a text that comes from a message fit for a span, a label or a terminal: valid UTF-8 without
// control characters, of at most 256 bytes. Most are, and cost nothing.
func Text(s string) string {
	if plain(s) {
		return s
	}
	const mark, more = '·', '…'
	var b strings.Builder
	for _, r := range s { // what is not UTF-8 is RuneError
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = mark
		}
		if b.Len()+utf8.RuneLen(r)+utf8.RuneLen(more) > maxText {
			b.WriteRune(more)
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

func plain(s string) bool {
	if len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
