package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"strings"
)

// sampleLines is a morning in five invented repositories: duplicates, events out of order, and one of
// each bad kind are on purpose.
//
//go:embed sample.jsonl
var sampleLines []byte

// sampleOversize is the size of the comment in the one event that is made at run time.
const sampleOversize = 2_000_000

// sample reads the built-in sample. In its middle stands an event of 2 MB, too large to be kept in the
// repository, and for the flow.
func sample() io.Reader {
	half := len(sampleLines) / 2
	half += bytes.IndexByte(sampleLines[half:], '\n') + 1
	large := fmt.Sprintf(`{"event":"commit_comment","delivery":"0f1f2f3f-flood","payload":{"comment":{"body":%q}}}`+"\n",
		strings.Repeat("water ", sampleOversize/len("water ")))
	return io.MultiReader(bytes.NewReader(sampleLines[:half]), strings.NewReader(large), bytes.NewReader(sampleLines[half:]))
}
