package channel

import (
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
)

var canonical = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// checkIDOf holds IDOf and parseUUID against a regular expression.
func checkIDOf(t *testing.T, text string) {
	t.Helper()
	got, ok := parseUUID(text)
	if ok != canonical.MatchString(text) {
		t.Fatalf("%q is a UUID: %t", text, ok)
	}
	if ok {
		if want := strings.ReplaceAll(text, "-", ""); hex.EncodeToString(got[:]) != want || got.String() != text {
			t.Fatalf("%q is read as %s", text, got)
		}
	}
	id := IDOf(text)
	if ok && id != got || !ok && id[6]>>4 != 5 {
		t.Fatalf("%q has identity %s", text, id)
	}
	if IDOf(id.String()) != id {
		t.Fatalf("%q: the text of its identity has another", text)
	}
	if id != IDOf(strings.Clone(text)) {
		t.Fatalf("%q has two identities", text)
	}
}

var idTexts = []string{
	"", "order-1", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736",
	"4bf92f3577b34da6a3ce929d0e0e4736", "{4bf92f35-77b3-4da6-a3ce-929d0e0e4736}", "00000000-0000-0000-0000-000000000000",
	"ffffffff-ffff-ffff-ffff-ffffffffffff", "4bf92f35-77b3-4da6-a3ce-929d0e0e473g", "4bf92f35_77b3-4da6-a3ce-929d0e0e4736",
	"-ab-cd-e--ab-0-00-ab-c--ab-ab-ab-ab-", "------------------------------------", strings.Repeat("\xff", 36), strings.Repeat("x", 10_000),
}

func TestIDOf(t *testing.T) {
	seen := map[ID]string{}
	for _, text := range idTexts {
		checkIDOf(t, text)
		if other, ok := seen[IDOf(text)]; ok {
			t.Errorf("%q and %q share an identity", text, other)
		}
		seen[IDOf(text)] = text
	}
}

// Dashes wherever they may stand: random texts never find the one in the way of a parser.
func TestIDOfNearlyUUID(t *testing.T) {
	for _, rnd := range seeds(t, 20_000) {
		text := []byte("4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
		for range rnd.IntN(20) {
			text[rnd.IntN(len(text))] = "-0afgA\x80"[rnd.IntN(7)]
		}
		checkIDOf(t, string(text))
	}
}

func FuzzIDOf(f *testing.F) {
	for _, text := range idTexts {
		f.Add(text)
	}
	f.Fuzz(checkIDOf)
}

// Derived ids are stored data: a change of these texts is a change of the derivation, and idVersion
// has to change with it.
func TestIDGolden(t *testing.T) {
	cause := IDOf("4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
	for _, c := range []struct{ what, got, want string }{
		{"text", IDOf("order-1").String(), "83f2080c-16ed-5bea-ac3f-fac794e4a419"},
		{"parts", DeriveID("flow/step", "order-1").String(), "4576eecd-5a89-57f8-8723-c413f0e646d4"},
		{"derived", derive("flow/step", cause, "out").nth(3).String(), "a71156cc-e6e3-586a-aaea-deb6d9590ae1"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestDeriveID(t *testing.T) {
	seen := map[ID][]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"a", "", "b"}, {"a:b"}, {"1:a"}, {"1:a1:b"}, {"b", "a"}, {"a", "b", ""}} {
		id := DeriveID(parts...)
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q share an identity", parts, other)
		}
		seen[id] = parts
		if id != DeriveID(parts...) || id == IDOf(strings.Join(parts, "")) {
			t.Errorf("%q: %s", parts, id)
		}
	}
}

func TestNewID(t *testing.T) {
	seen := map[ID]bool{}
	for range 1000 {
		id := NewID()
		if seen[id] || id[6]>>4 != 4 || id[8]>>6 != 2 || !canonical.MatchString(id.String()) {
			t.Fatalf("%s: there before %t", id, seen[id])
		}
		seen[id] = true
	}
}

func BenchmarkDerive(b *testing.B) {
	b.ReportAllocs()
	cause := NewID()
	for b.Loop() {
		cause = derive("flow/step", cause, "orders").nth(1)
	}
}

func BenchmarkIDOf(b *testing.B) {
	for _, c := range []struct{ name, text string }{{"uuid", idTexts[2]}, {"text", idTexts[1]}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = IDOf(c.text)
			}
		})
	}
}
