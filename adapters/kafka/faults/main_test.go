package faults_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/leat-go/leat/internal/kafkatest"
)

// TestMain is the tests, and, in a process that a test has started, what that does.
func TestMain(m *testing.M) {
	if job := os.Getenv(jobVariable); job != "" {
		os.Exit(process(job))
	}
	kafkatest.Main(m, goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
}
