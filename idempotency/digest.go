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
	if p, ok := e.Bytes(); ok {
		return Sum(p)
	}
	return Digest{}
}
