package idempotency

import (
	"crypto/sha256"

	"github.com/leat-go/leat/channel"
)

// A Digest tells two payloads under one id apart: the first 16 bytes of the payload's SHA-256. The
// zero Digest is no digest.
type Digest [16]byte

// Sum gives the digest of a payload. A tombstone, nil, differs from an empty payload.
func Sum(payload []byte) (d Digest) {
	if payload == nil {
		return Digest{0: 1}
	}
	h := sha256.Sum256(payload)
	copy(d[:], h[:])
	return d
}

// digest is that of the bytes the message came with. A body that was handed over in the process has
// none, and it is not encoded for this; nor has what followed from another message in the process: its
// id was derived here and cannot be forged.
func digest(e *channel.Envelope) Digest {
	if e.Root() != e {
		return Digest{}
	}
	d := channel.ForwardRaw("", e) // shows the body, if it is known, without decoding or encoding
	body := d.Body()
	if body == nil { // so it came as bytes, or is a tombstone
		p, err := e.Payload()
		if err != nil {
			return Digest{}
		}
		return Sum(p)
	}
	if p, ok := body.([]byte); ok {
		if p == nil {
			p = []byte{} // it travels as an empty payload
		}
		return Sum(p)
	}
	// A typed body: decoded from bytes at an earlier attempt, or handed over. Its entry tells.
	x := e.Entry()
	if e.Attempt() <= 1 && x.Size() == (channel.Entry{}).Size()+len(x.Key()) {
		return Digest{}
	}
	x = x.On("", &channel.Codecs{Default: refusing{}})
	if p, err := x.Payload(); err == nil && p != nil {
		return Sum(p)
	}
	return Digest{}
}

// refusing is a codec that writes nothing: an entry with it has the bytes it came with or none.
type refusing struct{ channel.Raw }

func (refusing) Encode(any) ([]byte, error) { return nil, nil }
