//go:build race

package flow_test

// forgets is by how many allocations a message may differ: under the race detector pools forget at random.
const forgets = 1
