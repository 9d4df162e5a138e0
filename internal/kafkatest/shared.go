package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// shared is the server of this test binary, once a test wants it.
//
//nolint:gochecknoglobals // one per process is what it is for
var shared struct {
	mu     sync.Mutex
	server *Server
	err    error
}

// Shared gives the server of this test binary, and starts it for the first test that asks. Tests keep apart
// by topics and groups of their own, and do not stop it. Main stops it. With LEAT_KAFKA set it is the
// broker there.
//
// Where no server can be had the test is skipped, with CI set it fails.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if addr := os.Getenv("LEAT_KAFKA"); addr != "" {
		return &Server{addr: addr}
	}
	if shared.server == nil && shared.err == nil {
		// Its life is not that of the test that happened to be first.
		shared.server, shared.err = Start(context.WithoutCancel(tb.Context()), Options{})
	}
	demand(tb, shared.err, ", or set LEAT_KAFKA=host:port of a broker (compose.yaml has one)")
	return shared.server
}

// Own gives the test a server of its own, which it may kill, suspend and restart; it is stopped when the
// test ends. If the test failed, the broker's log is kept. It is started even if LEAT_KAFKA is set.
func Own(tb testing.TB) *Server {
	tb.Helper()
	return OwnWith(tb, Options{})
}

// OwnWith is Own with options.
func OwnWith(tb testing.TB, opts Options) *Server {
	tb.Helper()
	own := map[string]string{sessionTimeout: "2000"} // it comes back sooner
	maps.Copy(own, opts.Properties)
	opts.Properties = own
	s, err := Start(tb.Context(), opts)
	demand(tb, err, ownHint)
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the broker's log is in %s", s.keepLog())
		}
		s.Stop()
	})
	return s
}

// Need ends a test as Own does where no server can be had, and starts none: for tests whose child processes
// call Start.
func Need(tb testing.TB) {
	tb.Helper()
	_, err := fetch(tb.Context())
	demand(tb, err, ownHint)
}

const ownHint = "; this test has a broker of its own, so that LEAT_KAFKA does not help"

// demand ends a test that has no server, and says what else would help.
func demand(tb testing.TB, err error, hint string) {
	tb.Helper()
	switch {
	case err == nil:
	case !errors.Is(err, ErrMissing):
		tb.Fatal(err)
	case os.Getenv("CI") != "":
		tb.Fatalf("%v%s", err, hint)
	default:
		tb.Skipf("%v%s", err, hint)
	}
}

// Main is the TestMain of a package whose tests use Shared: it runs them, stops the server, looks for
// goroutines that are left, and exits.
func Main(m *testing.M, options ...goleak.Option) {
	// It is in the process for ever once a client of sarama's was there.
	options = append(options, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
	goleak.VerifyTestMain(stopping{m}, options...)
}

// stopping runs tests and stops the server behind them, before leaks are looked for.
type stopping struct{ m *testing.M }

// Run gives what the tests gave.
func (s stopping) Run() int {
	code := s.m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		if code != 0 {
			fmt.Fprintln(os.Stderr, "the broker's log is in", shared.server.keepLog())
		}
		shared.server.Stop()
	}
	return code
}

// keepLog copies the log to where Stop leaves it.
func (s *Server) keepLog() string {
	log, err := os.ReadFile(s.Log())
	if err != nil {
		return err.Error()
	}
	f, err := os.CreateTemp("", "leat-kafka-*.log")
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // Write has said so
	if _, err := f.Write(log); err != nil {
		return err.Error()
	}
	return f.Name()
}
