package channel

import "fmt"

// Limits bound one message. The zero value is the default: small enough that body, key, headers and
// what a dead letter adds pass a broker's own default of 1 MiB.
type Limits struct {
	Body        int // bytes; 0: 1,000,000
	Headers     int // count; 0: 64
	Header      int // bytes of one, name and value; 0: 8 KiB
	HeaderBytes int // bytes of all; 0: 32 KiB
}

func (l Limits) withDefaults() Limits {
	const kib = 1024
	if l.Body == 0 {
		l.Body = 1_000_000
	}
	if l.Headers == 0 {
		l.Headers = 64
	}
	if l.Header == 0 {
		l.Header = 8 * kib
	}
	if l.HeaderBytes == 0 {
		l.HeaderBytes = 32 * kib
	}
	return l
}

// Check gives an ErrTooLarge that says which limit a message is beyond, nil if it is within all.
func (l Limits) Check(payload []byte, headers Headers) error {
	switch hs := headers.(type) {
	case nil:
		return l.CheckFields(payload, nil)
	case Fields:
		return l.CheckFields(payload, hs)
	case interface{ Fields() Fields }:
		return l.CheckFields(payload, hs.Fields())
	}
	var fs Fields
	for name, value := range headers.All() {
		if fs = append(fs, Field{name, value}); len(fs) > l.withDefaults().Headers {
			break // no more need be read
		}
	}
	return l.CheckFields(payload, fs)
}

// CheckFields is Check, without an allocation.
func (l Limits) CheckFields(payload []byte, fs Fields) error {
	l = l.withDefaults()
	if len(payload) > l.Body {
		return fmt.Errorf("%w: payload has %d bytes, the limit is %d: raise Limits.Body or send a claim check", ErrTooLarge, len(payload), l.Body)
	}
	bytes := 0
	for i := range fs {
		n := len(fs[i].Name) + len(fs[i].Value)
		bytes += n
		if n > l.Header {
			return fmt.Errorf("%w: header %.64q has %d bytes, the limit is %d", ErrTooLarge, fs[i].Name, n, l.Header)
		}
	}
	if len(fs) > l.Headers || bytes > l.HeaderBytes {
		return fmt.Errorf("%w: more than %d headers or %d bytes of them: it has %d of %d", ErrTooLarge, l.Headers, l.HeaderBytes, len(fs), bytes)
	}
	return nil
}
