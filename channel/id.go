package channel

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // UUIDv5 is SHA-1 by RFC 9562; identities here authorise nothing.
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// An ID is an identity in 16 bytes: what stores key by. Messages carry it as a UUID in text.
type ID [16]byte

// idVersion is the first byte of everything an id is derived from: change it when the derivation
// changes, for derived ids are stored data.
const idVersion = 1

// IDOf gives the identity of an id in text: the UUID's bytes if it is one in canonical form, else a
// UUIDv5 of the text. Equal texts have equal identities.
func IDOf(text string) ID {
	if id, ok := parseUUID(text); ok {
		return id
	}
	var buf [256]byte
	return sum(append(append(buf[:0], idVersion, 't'), text...))
}

// DeriveID gives the identity that the named parts always have: UUIDv5 of (version, parts).
// Stores and blocks use it for what they send outside of any one message's cause.
func DeriveID(parts ...string) ID {
	var buf [256]byte
	b := append(buf[:0], idVersion, 'p')
	for _, p := range parts {
		b = strconv.AppendInt(b, int64(len(p)), 10)
		b = append(append(b, ':'), p...)
	}
	return sum(b)
}

// NewID gives a random identity (UUIDv4).
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails: it ends the program instead
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String gives the id as a UUID in canonical form.
func (id ID) String() string {
	var o [36]byte
	hex.Encode(o[:8], id[:4])
	o[8] = '-'
	hex.Encode(o[9:13], id[4:6])
	o[13] = '-'
	hex.Encode(o[14:18], id[6:8])
	o[18] = '-'
	hex.Encode(o[19:23], id[8:10])
	o[23] = '-'
	hex.Encode(o[24:], id[10:16])
	return string(o[:])
}

// derive is the identity of the first delivery to a topic that step scope made of cause; those of the
// others are numbered from it.
func derive(scope string, cause ID, topic string) ID {
	var buf [256]byte
	b := append(buf[:0], idVersion, 'd')
	b = append(append(b, scope...), 0)
	b = append(b, cause[:]...)
	return sum(append(append(b, topic...), 0))
}

// nth is the n-th of the identities numbered from id, which is the 0th. They differ in the last four
// bytes, and are as far from those numbered from any other as random ones of 90 bits.
func (id ID) nth(n int32) ID {
	last := binary.BigEndian.Uint32(id[12:]) ^ uint32(n) //nolint:gosec // Bits.
	binary.BigEndian.PutUint32(id[12:], last)
	return id
}

// sum is the SHA-1 of b as a UUIDv5.
func sum(b []byte) (id ID) {
	h := sha1.Sum(b) //nolint:gosec // UUIDv5.
	copy(id[:], h[:])
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return id
}

// parseUUID reads a UUID in canonical form: 36 characters, lower case. Anything else has no bytes of
// its own, so that two texts never share an identity.
func parseUUID(s string) (id ID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	bad := byte(0)
	i := 0
	for n := range id {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			i++
		}
		hi, lo := hexValue[s[i]], hexValue[s[i+1]]
		bad |= hi | lo
		id[n] = hi<<4 | lo&0x0f
		i += 2
	}
	return id, bad&0xf0 == 0
}

// hexValue is the value of each lower-case hexadecimal digit, 0xff for what is none.
var hexValue = func() (t [256]byte) { //nolint:gochecknoglobals // A table that nobody writes to.
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()
