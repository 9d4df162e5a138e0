package domain

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is wrapped by every error that means: this input makes no sense, and will not the next
// time either.
var ErrInvalid = errors.New("event is invalid")

// ErrFamily is what a translator answers to an event of another family: the router before it is wired
// wrongly. It is not the event's fault and does not wrap ErrInvalid.
var ErrFamily = errors.New("event belongs to another family")

// A Reason says in few words why an event is invalid. There are only these, so it can be counted by.
type Reason string

// The reasons.
const (
	Empty        Reason = "empty line"
	NotJSON      Reason = "not JSON"
	TooLarge     Reason = "too large"
	NoEvent      Reason = "no event type"
	UnknownEvent Reason = "unknown event type"
	NoDelivery   Reason = "no delivery id"
	BadDelivery  Reason = "bad delivery id"
	WrongShape   Reason = "wrong shape"
)

// Invalid is the error of an input that makes no sense. It wraps ErrInvalid and Err.
type Invalid struct { //nolint:errname // Callers say domain.Invalid.
	Reason Reason
	Detail string // which field, which value; at most 300 bytes; "": there is no more to say
	Err    error  // what the decoder said; nil: it was not the decoder
}

// Error gives reason and detail in one line.
func (x *Invalid) Error() string {
	if x.Detail == "" {
		return fmt.Sprintf("%v: %s", ErrInvalid, x.Reason)
	}
	return fmt.Sprintf("%v: %s: %s", ErrInvalid, x.Reason, x.Detail)
}

// Unwrap gives ErrInvalid and Err.
func (x *Invalid) Unwrap() []error {
	if x.Err == nil {
		return []error{ErrInvalid}
	}
	return []error{ErrInvalid, x.Err}
}

// ReasonOf gives the reason of an Invalid error, "" if err is none.
func ReasonOf(err error) Reason {
	if x, ok := errors.AsType[*Invalid](err); ok {
		return x.Reason
	}
	return ""
}

func invalid(r Reason, format string, args ...any) error {
	return &Invalid{Reason: r, Detail: clip(fmt.Sprintf(format, args...), maxDetail)}
}

const maxDetail = 300

// decodeError makes an Invalid of what encoding/json said about a value named where.
func decodeError(where string, err error) error {
	x := &Invalid{Reason: WrongShape, Err: err}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		x.Reason = NotJSON
		x.Detail = fmt.Sprintf("byte %d: %v", syntax.Offset, err)
	} else if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := where
		if typ.Field != "" {
			field += "." + typ.Field
		}
		x.Detail = fmt.Sprintf("%s is %s, want %s", field, article(clip(typ.Value, 40)), kindName(typ.Type.Kind().String()))
	} else {
		x.Detail = fmt.Sprintf("%s: %v", where, err)
	}
	x.Detail = clip(x.Detail, maxDetail)
	return x
}

// kindName gives a Go kind in JSON's words.
func kindName(kind string) string {
	switch kind {
	case "struct", "map":
		return "an object"
	case "slice":
		return "an array"
	case "bool":
		return "a boolean"
	case "string":
		return "a string"
	}
	return "a whole number"
}

func article(noun string) string {
	if noun == "array" || noun == "object" {
		return "an " + noun
	}
	return "a " + noun
}

// clip gives the first line of s in at most limit bytes, cut between characters.
func clip(s string, limit int) string {
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		s = s[:i]
	}
	if len(s) <= limit {
		return s
	}
	const dots = "..."
	cut := 0
	for i := range s {
		if i > limit-len(dots) {
			break
		}
		cut = i
	}
	return s[:cut] + dots
}
