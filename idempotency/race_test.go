//go:build race

package idempotency_test

// The race detector makes the long runs ten times as slow; they are then a tenth as long.
const slowdown = 10
