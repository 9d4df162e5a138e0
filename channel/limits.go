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
	count, bytes := 0, 0
	for k, v := range headers.All() {
		count++
		bytes += len(k) + len(v)
		if len(k)+len(v) > l.Header {
			return fmt.Errorf("%w: header %.64q has %d bytes, the limit is %d", ErrTooLarge, k, len(k)+len(v), l.Header)
		}
		if count > l.Headers || bytes > l.HeaderBytes {
			return fmt.Errorf("%w: more than %d headers or %d bytes of them", ErrTooLarge, l.Headers, l.HeaderBytes)
		}
	}
	return nil
}
