package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

const (
	keyCount  = 1000 // keys of the messages of a row, taken in turn
	bodyBytes = 256
)

// Bodies are JSON of 256 bytes that begin with their number in eight digits. The rest is words, so that
// compression finds what it would find in orders.
const (
	bodyStart = `{"id":"`
	bodyEnd   = `"}`

	words = "kettle. pitcher lantern gadgets widgets sundial brass   copper  oaken   walnut  express tracked " +
		"insured fragile upright monday  tuesday evening harbour station garden  kitchen cellar  orchard " +
		"invoice receipt deposit balance refund  voucher parcels pallets "
	wordBytes = 8
)

// body gives the i-th body. Its region is the i-th in turn.
func body(i int) []byte {
	regions := [...]string{"EU", "US", "AS"}
	b := make([]byte, 0, bodyBytes)
	b = fmt.Appendf(b, bodyStart+`%08d","region":"%s","text":"`, i, regions[i%len(regions)])
	random := rand.New(rand.NewPCG(uint64(i), 0)) //nolint:gosec // No number is negative.
	for len(b) < bodyBytes-len(bodyEnd) {
		at := random.IntN(len(words)/wordBytes) * wordBytes
		word := words[at : at+wordBytes]
		b = append(b, word[:min(len(word), bodyBytes-len(bodyEnd)-len(b))]...)
	}
	return append(b, bodyEnd...)
}

// number reads a body's number; -1: it has none.
func number(b []byte) int {
	const digits = 8
	if len(b) < len(bodyStart)+digits {
		return -1
	}
	n := 0
	for _, c := range b[len(bodyStart) : len(bodyStart)+digits] {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// region reads which of the three regions a body has; the last if it has none.
func region(b []byte) int {
	_, value, found := bytes.Cut(b, []byte(`"region":"`))
	switch {
	case found && len(value) > 0 && value[0] == 'E':
		return 0
	case found && len(value) > 0 && value[0] == 'U':
		return 1
	}
	return 2
}

// keyNames are the keys of messages, in turn.
func keyNames() []string {
	names := make([]string, keyCount)
	for i := range names {
		names[i] = fmt.Sprintf("customer-%03d", i)
	}
	return names
}

// someBodies are the first thousand, to be sent again and again.
func someBodies() [][]byte {
	bodies := make([][]byte, keyCount)
	for i := range bodies {
		bodies[i] = body(i)
	}
	return bodies
}
