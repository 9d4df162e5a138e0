//go:build race

package hostile_test

// pooled is what the client's pools of buffers, one for each kind of compression, may have on the heap beside: under
// the race detector what is done at once lasts long enough for both to be full.
const pooled = 16 << 20
