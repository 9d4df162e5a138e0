//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// guard runs a program and sees that it does not outlive us. It becomes the program; the subshell it leaves
// behind waits on descriptor 3, of which we hold the other end. A line there says that the program is over.
// The end of it without a line says that we are gone: it kills the program and removes its directory. If the
// program is suspended then, the kernel sends both of them SIGHUP.
const guard = `
dir=$1; shift
(
	trap '' HUP
	if ! read -r over <&3; then
		kill -9 "$$"
		for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$$" || break; sleep 0.1; done
		rm -rf -- "$dir"
	fi
) >/dev/null 2>&1 &
exec "$@" 3<&-
`

// A process is one that runs until it is killed.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it is over
	err  error         // why it is over; read after done
}

// launch starts a program under guard. What it prints goes to log. dir is removed if we die.
func launch(dir string, log *os.File, program string, args ...string) (*process, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	defer theirs.Close() //nolint:errcheck // the program has its own

	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "guard", dir, program}, args...)...) //nolint:gosec,noctx // it outlives the call; its owner kills it
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what a terminal interrupts is us alone
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		_, _ = ours.WriteString("over\n") // before anything else can have its process id
		_ = ours.Close()
		close(p.done)
	}()
	return p, nil
}

// kill ends it, however it stands, and returns when it is over.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it fails if it is over
	<-p.done
}

func (p *process) suspend() error   { return p.signal(syscall.SIGSTOP) }
func (p *process) resume() error    { return p.signal(syscall.SIGCONT) }
func (p *process) terminate() error { return p.signal(syscall.SIGTERM) }

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("sending %v to Kafka: %w", s, err)
	}
	return nil
}

// lock takes the lock of a file, which is free again when its holder is gone. It waits for it until ctx
// ends.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the cache of Kafka's jars: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("waiting for the lock of %s: %w", name, context.Cause(ctx))
		}
	}
}
