//go:build stress && unix && !race

package kafka_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// Watermill's TestReconnect: the broker is killed twice while 100 publishers publish, and starts again on
// its data. The test has a data race of its own, so that it is in no build with -race; make soak runs it.
func TestWatermillReconnect(t *testing.T) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered, adapters.Unordered} {
		t.Run(order.String(), func(t *testing.T) {
			server := kafkatest.Own(t)
			f := features(order)
			f.RestartServiceCommand = restartCommand(t, server)
			const sends = 10_000 // as many as the test does
			tests.TestReconnect(t, tests.TestContext{TestID: tests.NewTestID(), Features: f}, func(t *testing.T) (message.Publisher, message.Subscriber) {
				pub, sub := ends{server.Addr(), order, 1}.alone(t)
				return pub, patient{sub, sends}
			})
		})
	}
}

// ask is a command that asks through a pipe, and waits for the answer in one of its own.
const ask = `mkfifo "$0/$$" && echo $$ >"$0/ask" && read -r answer <"$0/$$" && test "$answer" = ok`

// restartCommand gives a command that restarts the server and ends when it answers. The suite wants a
// command, and the server is this process's: so the command asks this process. It may run twice at once;
// the server is restarted twice then, one time after the other.
func restartCommand(t *testing.T, server *kafkatest.Server) []string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "ask")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	asked, err := os.OpenFile(name, os.O_RDWR, 0) // for writing too: so it has no end between two commands
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(asked); lines.Scan(); {
			answer := "ok"
			if err := server.Restart(t.Context()); err != nil {
				t.Error(err)
				answer = "error"
			}
			if err := os.WriteFile(filepath.Join(dir, lines.Text()), fmt.Appendln(nil, answer), 0o600); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		_ = asked.Close()
		<-ended
	})
	return []string{"/bin/sh", "-c", ask, dir}
}
