package channel

import "testing"

// What is made of the parts of a sequence is no part of it: it has the sequence around theirs, or none.
func TestOfLeavesTheSequence(t *testing.T) {
	root := &Envelope{}
	root.Arrive(&Arrival{Context: t.Context(), Topic: "in", Scope: "f/outer", ID: "a b/c", Body: 0, HasBody: true})
	const parts Topic[int] = "parts"
	next := func(e *Envelope, scope string) *Envelope {
		r := Sequence(Message[int]{env: e}, []Delivery{To(parts, 1), To(parts, 2), To(parts, 3)})
		c := &Envelope{}
		c.Follow(e, r.At(1), 1, scope)
		return c
	}
	whole := func(e *Envelope) *Envelope {
		d := To(parts, 9).Of(e.Entry())
		c := &Envelope{}
		c.Follow(e, &d, 0, "f/next")
		return c
	}
	outer := next(root, "f/inner")
	inner := next(outer, "f/join")
	joined := whole(inner)
	for name, want := range map[string]string{
		HeaderSequence: "a b/c", HeaderSequenceIndex: "1", HeaderSequenceSize: "3", HeaderSequenceOuter: "",
	} {
		if got := joined.Get(name); got != want {
			t.Errorf("joined once: %s is %q, want %q", name, got, want)
		}
		if got := whole(joined).Get(name); got != "" {
			t.Errorf("joined twice: %s is %q, want none", name, got)
		}
	}
	if fs := whole(joined).Fields(); fs.Get(HeaderSequence) != "" {
		t.Errorf("what leaves is still a part: %v", fs)
	}
}
