//go:build !race

package flow_test

const forgets = 0
