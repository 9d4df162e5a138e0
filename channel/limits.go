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
	l = l.withDefaults()
	if len(payload) > l.Body {
		return fmt.Errorf("%w: payload has %d bytes, the limit is %d: raise Limits.Body or send a claim check", ErrTooLarge, len(payload), l.Body)
	}
	if headers == nil {
		return nil
	}
	w := weight{limits: l}
	switch hs := headers.(type) {
	case Fields:
		return w.addAll(hs)
	case interface{ Fields() Fields }:
		return w.addAll(hs.Fields())
	}
	for name, value := range headers.All() {
		if err := w.add(name, value); err != nil {
			return err
		}
	}
	return nil
}

// A weight adds up headers.
type weight struct {
	limits       Limits
	count, bytes int
}

func (w *weight) addAll(fs Fields) error {
	for i := range fs {
		if err := w.add(fs[i].Name, fs[i].Value); err != nil {
			return err
		}
	}
	return nil
}

func (w *weight) add(name, value string) error {
	n := len(name) + len(value)
	w.count++
	w.bytes += n
	switch l := &w.limits; {
	case n > l.Header:
		return fmt.Errorf("%w: header %.64q has %d bytes, the limit is %d", ErrTooLarge, name, n, l.Header)
	case w.count > l.Headers || w.bytes > l.HeaderBytes:
		return fmt.Errorf("%w: more than %d headers or %d bytes of them", ErrTooLarge, l.Headers, l.HeaderBytes)
	}
	return nil
}
