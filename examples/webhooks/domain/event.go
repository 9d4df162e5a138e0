package domain

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// An Event is one webhook delivery as GitHub sent it.
type Event struct {
	Event    string          `json:"event"`    // X-GitHub-Event: the type
	Delivery string          `json:"delivery"` // X-GitHub-Delivery: the same when a delivery is repeated
	Payload  json.RawMessage `json:"payload"`  // nobody may change the bytes
	// Expires is when nobody wants the event any more; zero: never. GitHub does not send it, files may.
	Expires time.Time `json:"expires,omitzero"`

	facts *payload // Payload, decoded by Parse; nil after a trip over a broker
}

// An Oversize stands in a stream of lines for one that was too long to keep. Parse answers it with
// TooLarge.
type Oversize struct {
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // of all bytes, in hexadecimal
	Head   string `json:"head"`   // the first bytes; what is not UTF-8 in them is replaced
}

// Line gives the stand-in as a line that Parse reads.
func (o Oversize) Line() []byte {
	line, err := json.Marshal(struct {
		TooLarge Oversize `json:"too_large"`
	}{o})
	if err != nil { // strings and a number: it cannot be
		return []byte(`{"too_large":{}}`)
	}
	return line
}

// Repeated gives line, one event of JSON Lines, as its n-th repetition (n > 1): Parse appends "-n" to
// its delivery id, so that it is another event. A line that is no object is given as it is. The result
// is a new slice; nothing is decoded.
func Repeated(line []byte, n int) []byte {
	body := bytes.TrimRight(line, " \t\r\n")
	if len(body) < 2 || body[0] != '{' || body[len(body)-1] != '}' {
		return line
	}
	body = bytes.TrimRight(body[:len(body)-1], " \t\r\n")
	if len(body) == 1 { // {}: a comma would make it another mistake than it is
		return line
	}
	out := make([]byte, 0, len(body)+24)
	out = append(append(out, body...), `,"repeat":`...)
	return append(strconv.AppendInt(out, int64(n), 10), '}')
}

// Parse reads one line, {"event": ..., "delivery": ..., "payload": {...}}, and validates it. Its error
// is an Invalid.
func Parse(line []byte) (Event, error) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return Event{}, &Invalid{Reason: Empty}
	}
	var x struct {
		Event
		Repeat   int       `json:"repeat"`
		TooLarge *Oversize `json:"too_large"`
	}
	if err := json.Unmarshal(line, &x); err != nil {
		return Event{}, decodeError("line", err)
	}
	if line[0] != '{' {
		return Event{}, invalid(WrongShape, "line is not an object")
	}
	if o := x.TooLarge; o != nil {
		return Event{}, invalid(TooLarge, "%d bytes, sha256 %s, begins with %.40q", o.Size, clip(o.SHA256, 64), o.Head)
	}
	e := x.Event
	if x.Repeat > 1 && e.Delivery != "" {
		e.Delivery += "-" + strconv.Itoa(x.Repeat)
	}
	facts, err := e.read()
	if err != nil {
		return Event{}, err
	}
	e.facts = facts
	return e, nil
}

// Validate gives an Invalid error if no translator could make an Activity of the event.
func (e Event) Validate() error {
	_, err := e.read()
	return err
}

// Family is the event's family, "" if its type is unknown.
func (e Event) Family() Family {
	f, _ := FamilyOf(e.Event)
	return f
}

// In gives a predicate for routers: is the event of that family?
func In(f Family) func(Event) bool {
	return func(e Event) bool { return e.Family() == f }
}

// Relevant reports whether anything happened: a ping only says that a hook was made.
func Relevant(e Event) bool { return e.Event != "ping" }

// read checks the event and decodes what translators need of the payload.
func (e Event) read() (*payload, error) {
	if e.facts != nil && e.facts.event == e.Event {
		return e.facts, nil
	}
	if e.Event == "" {
		return nil, &Invalid{Reason: NoEvent}
	}
	if _, ok := FamilyOf(e.Event); !ok {
		return nil, invalid(UnknownEvent, "%.60q", e.Event)
	}
	if err := checkDelivery(e.Delivery); err != nil {
		return nil, err
	}
	if len(e.Payload) == 0 || string(e.Payload) == "null" {
		return nil, invalid(WrongShape, "payload of %s is missing", e.Event)
	}
	p := &payload{event: e.Event}
	if err := json.Unmarshal(e.Payload, p); err != nil {
		return nil, decodeError("payload", err)
	}
	if err := p.check(e.Event); err != nil {
		return nil, err
	}
	return p, nil
}

// checkDelivery keeps ids short and printable: they become identities and are written to logs.
func checkDelivery(id string) error {
	const limit = 256
	switch {
	case id == "":
		return &Invalid{Reason: NoDelivery}
	case len(id) > limit:
		return invalid(BadDelivery, "it has %d bytes, at most %d are taken", len(id), limit)
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return invalid(BadDelivery, "byte %d of %.60q is not printable ASCII", i, id)
		}
	}
	return nil
}
