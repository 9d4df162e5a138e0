package channel

import (
	"context"
	"errors"
	"reflect"
	"testing"
)

func TestIn(t *testing.T) {
	errWork := errors.New("work")
	in := In("second", Topic[item]("items"), func(m Message[item]) (Result, error) {
		if m.Body.N == 2 {
			return Result{}, errWork
		}
		return Drop(m.Body.S + m.ID()), nil
	})
	if in.Name != "second" || in.Topic != "items" || in.Type != reflect.TypeFor[item]() || in.Clock != nil || in.Broadcast || in.Tombstones {
		t.Fatalf("%+v", in)
	}
	root := arrived(Arrival{ID: "1", Topic: "items", Payload: []byte(`{"n":1,"s":"x"}`)})
	for _, c := range []struct {
		name string
		e    *Envelope
		want string
		err  error
	}{
		{"from bytes", root, "x1", nil},
		{"over a direct hop", followed(root, To(Topic[item]("items"), item{S: "y"}).ID("2"), 0), "y" + DeriveID("flow/step", "2").String(), nil},
		{"its error", followed(root, To(Topic[item]("items"), item{N: 2}), 0), "", errWork},
		{"not to be read", arrived(Arrival{Topic: "items", Payload: []byte("x")}), "", ErrDecode},
	} {
		var r Result
		if err := in.Stage()(c.e, &r); !errors.Is(err, c.err) || r.Reason() != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, r.Reason(), err, c.want)
		}
	}
}

func TestClock(t *testing.T) {
	errLate := errors.New("late")
	due := func(_ context.Context, r DueRequest) (Due, error) { return Due{Keys: []string{r.Scope}}, nil }
	in := Clock("timeout", due, func(ctx context.Context, scope, key string) (Result, error) {
		if ctx != t.Context() {
			t.Error("another context")
		}
		return Drop(scope + " " + key), errLate
	})
	if in.Name != "timeout" || in.Topic != "" || in.Type != nil || in.Clock == nil || in.Clock.AtEnd {
		t.Fatalf("%+v", in)
	}
	if d, err := in.Clock.Due(t.Context(), DueRequest{Scope: "s"}); err != nil || len(d.Keys) != 1 || d.Keys[0] != "s" {
		t.Errorf("due %+v, %v", d, err)
	}
	if r, err := in.Clock.Fire(t.Context(), "s", "k"); r.Reason() != "s k" || !errors.Is(err, errLate) {
		t.Errorf("fired: %q, %v", r.Reason(), err)
	}
	e := arrived(Arrival{Context: t.Context(), Scope: "f/s", Key: "group", ID: "tick", Tick: true})
	var r Result
	if err := in.Stage()(e, &r); r.Reason() != "f/s group" || !errors.Is(err, errLate) || e.Deleted() || !e.Tick() {
		t.Errorf("as a stage: %q, %v", r.Reason(), err)
	}
	// What time causes has no conversation of a message, and its id is that of the tick.
	out := followed(e, To(Topic[int]("out"), 1), 0)
	if out.Fields().Get(HeaderConversation) != "" || out.Key() != "group" {
		t.Errorf("%v under %q", out.Fields(), out.Key())
	}
}
