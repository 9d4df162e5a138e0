package tracing_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/leat-go/leat/tracing"
)

func TestText(t *testing.T) {
	long := strings.Repeat("x", 256)
	for in, want := range map[string]string{
		"":                        "",
		"order-17":                "order-17",
		"with space":              "with space",
		"two\nlines\r\n":          "two·lines··",
		"\x1b[31mred":             "·[31mred",
		"nul\x00":                 "nul·",
		"Grüße, ἀρχή":             "Grüße, ἀρχή",
		"not\xffUTF-8":            "not·UTF-8",
		"\u202egnp.exe":           "·gnp.exe", // turns the reading direction
		long:                      long,
		long + "x":                long[:253] + "…",
		strings.Repeat("₿", 1000): strings.Repeat("₿", 84) + "…",
	} {
		if got := tracing.Text(in); got != want {
			t.Errorf("%q becomes %q; want %q", in, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = tracing.Text(long) }); n != 0 {
		t.Errorf("%v allocations for a text that is fit as it is", n)
	}
}

// Whatever a message brings, what is shown is valid UTF-8 without control characters, and short.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a\nb", "\xff\xfe", strings.Repeat("é", 128), strings.Repeat("x", 252) + "ἀρχή", strings.Repeat("𝄞", 80), "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := tracing.Text(s)
		switch {
		case len(got) > 256:
			t.Errorf("%d bytes", len(got))
		case !utf8.ValidString(got):
			t.Errorf("%q is not UTF-8", got)
		case strings.ContainsFunc(got, unicode.IsControl):
			t.Errorf("%q has control characters", got)
		case tracing.Text(got) != got:
			t.Errorf("%q becomes %q the second time", got, tracing.Text(got))
		case s != "" && got == "":
			t.Errorf("%q becomes nothing", s)
		}
	})
}
