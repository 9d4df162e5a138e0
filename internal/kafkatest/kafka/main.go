// Command kafka runs a Kafka broker for tests and benchmarks until it is interrupted.
//
//	go run ./internal/kafkatest/kafka            # prints LEAT_KAFKA=127.0.0.1:31234 when it is ready
//	go run ./internal/kafkatest/kafka -prepare   # only fetches what it needs into the cache
//
// Its data are gone afterwards.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/leat-go/leat/internal/kafkatest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

var errOver = errors.New("the broker ended by itself")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("kafka", flag.ContinueOnError)
	flags.SetOutput(stderr)
	port := flags.Int("port", 0, "where clients connect, on 127.0.0.1; 0: a free `port`")
	prepare := flags.Bool("prepare", false, "only fetch what is needed into the cache; without Java or Maven, say so and, unless CI is set, succeed")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	var err error
	if *prepare {
		err = kafkatest.Prepare(ctx)
	} else {
		err = serve(ctx, *port, stdout)
	}
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(stderr, err)
	if *prepare && errors.Is(err, kafkatest.ErrMissing) && os.Getenv("CI") == "" {
		return 0
	}
	return 1
}

// serve runs a broker until ctx ends.
func serve(ctx context.Context, port int, stdout io.Writer) error {
	// It runs for long: the better compiler pays.
	s, err := kafkatest.Start(ctx, kafkatest.Options{Port: port, JVM: []string{"-XX:TieredStopAtLevel=4"}})
	if err != nil {
		return err
	}
	defer s.Stop()
	_, _ = fmt.Fprintf(stdout, "LEAT_KAFKA=%s\n", s.Addr())
	select {
	case <-ctx.Done():
		return nil
	case <-s.Exited():
		return errOver
	}
}
