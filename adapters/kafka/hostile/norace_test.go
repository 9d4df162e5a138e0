//go:build !race

package hostile_test

const pooled = 0
