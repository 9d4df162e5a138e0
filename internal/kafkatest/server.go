package kafkatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options are what a server may be given. The zero value is what tests want.
type Options struct {
	// Properties are settings of the broker, in place of ours or besides them.
	Properties map[string]string
	// JVM are flags for Java, behind ours: -XX:TieredStopAtLevel=4 for measurements, -Xmx2g.
	JVM []string
	// Port is where clients connect, on 127.0.0.1. 0: a free one.
	Port int
}

// A Server is one Kafka node. Its methods are safe for concurrent use.
type Server struct {
	addr string
	kit  kit
	opts Options
	dir  string // "": it is not ours

	mu      sync.Mutex
	process *process // nil after Stop
}

// errForeign is why a broker that we did not start is not touched.
var errForeign = errors.New("LEAT_KAFKA names a broker that was not started here: a test that stops one needs kafkatest.Own")

var errStopped = errors.New("the server was stopped")

// readyWithin is how long a server may take to start: 2 minutes. It takes 3 s, on a machine that is busy
// with much else 20.
const readyWithin = 2 * time.Minute

// Start starts a server and returns when it answers. ErrMissing: there is none to be had on this machine.
// An error has the end of the broker's log. ctx bounds the start alone: call Stop.
func Start(ctx context.Context, opts Options) (*Server, error) {
	k, err := fetch(ctx)
	if err != nil {
		return nil, err
	}
	for tries := 1; ; tries++ {
		s, err := start(ctx, k, opts)
		if err == nil || opts.Port != 0 || tries == 5 || !strings.Contains(err.Error(), portTaken) {
			return s, err
		}
	}
}

// portTaken is what Java says of an address that another process has. It can come between us and a port
// that was free when we looked.
const portTaken = "Address already in use"

func start(ctx context.Context, k kit, opts Options) (*Server, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	broker, controller := ports[0], ports[1]
	if opts.Port != 0 {
		broker = opts.Port
	}
	dir, err := os.MkdirTemp("", "leat-kafka-")
	if err != nil {
		return nil, fmt.Errorf("starting Kafka: %w", err)
	}
	s := &Server{addr: address(broker), kit: k, opts: opts, dir: dir}
	if err := s.lay(settings(dir, broker, controller, opts.Properties)); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if err := s.Restart(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

const clusterID = "4L6g3nShT-eMCtK--X86sw" // any will do

// lay writes what the server reads when it starts.
func (s *Server) lay(settings map[string]string) error {
	bootstrap, err := os.ReadFile(s.kit.bootstrap())
	if err != nil {
		return fmt.Errorf("starting Kafka: %w", err)
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	data := settings["log.dirs"]
	meta := map[string]string{
		"version": "1", "cluster.id": clusterID, "node.id": settings["node.id"],
		"directory.id": base64.RawURLEncoding.EncodeToString(id[:]),
	}
	if err := os.MkdirAll(data, 0o750); err != nil {
		return fmt.Errorf("starting Kafka: %w", err)
	}
	for file, content := range map[string][]byte{
		filepath.Join(data, bootstrapName):     bootstrap,
		filepath.Join(data, "meta.properties"): properties(meta),
		s.file("server.properties"):            properties(settings),
		s.file("log4j2.properties"):            []byte(logging),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return fmt.Errorf("starting Kafka: %w", err)
		}
	}
	return nil
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// Addr is where clients connect: host:port. It stays the same over restarts.
func (s *Server) Addr() string { return s.addr }

// Log is the file that the broker writes its log to, all runs of it; "" for a broker of LEAT_KAFKA. Stop
// removes it.
func (s *Server) Log() string {
	if s.dir == "" {
		return ""
	}
	return s.file("kafka.log")
}

// Kill ends the broker as a crash would: SIGKILL. It returns when the process is gone.
func (s *Server) Kill() error {
	p, err := s.running()
	if err == nil {
		p.kill()
	}
	return err
}

// Restart starts the broker again, on its port and its data, and returns when it answers. A broker that
// runs is killed before. It takes broker.session.timeout.ms and the time of a start: that session is 2 s
// with Own, 9 s with Start, unless Options.Properties says otherwise.
func (s *Server) Restart(ctx context.Context) error {
	if s.dir == "" {
		return errForeign
	}
	if p, err := s.running(); err == nil {
		p.kill()
	}
	p, err := s.launch()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := s.ready(ctx, p); err != nil {
		p.kill()
		return s.explain(err)
	}
	return nil
}

func (s *Server) launch() (*process, error) {
	classpath, err := s.kit.classpath()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting Kafka: %w", errors.Join(errStopped, err))
	}
	defer log.Close() //nolint:errcheck // the process has its own

	args := append(s.kit.flags(), s.opts.JVM...)
	args = append(args, "-cp", classpath, "-Dlog4j2.configurationFile="+s.file("log4j2.properties"), "kafka.Kafka", s.file("server.properties"))
	s.process, err = launch(s.dir, log, s.kit.java, args...)
	return s.process, err
}

// Suspend stops the broker in its tracks, SIGSTOP: connections stay open and nothing answers.
func (s *Server) Suspend() error {
	p, err := s.running()
	if err != nil {
		return err
	}
	return p.suspend()
}

// Resume lets a suspended broker go on.
func (s *Server) Resume() error {
	p, err := s.running()
	if err != nil {
		return err
	}
	return p.resume()
}

// Exited is closed when the broker of now is over. It is nil for one of LEAT_KAFKA.
func (s *Server) Exited() <-chan struct{} {
	p, err := s.running()
	if err != nil {
		return nil
	}
	return p.done
}

// Stop ends the broker and removes its data and its log. It does nothing to a broker of LEAT_KAFKA, and
// may be called again.
func (s *Server) Stop() {
	if p, err := s.running(); err == nil {
		p.kill()
	}
	s.mu.Lock()
	s.process = nil
	s.mu.Unlock()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir) // it is in the temporary directory
	}
}

func (s *Server) running() (*process, error) {
	if s.dir == "" {
		return nil, errForeign
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil, errStopped
	}
	return s.process, nil
}

// explain gives an error of the broker the end of its log.
func (s *Server) explain(err error) error {
	log, _ := os.ReadFile(s.Log())
	if bytes.Contains(log, []byte(oldJava)) {
		return missing(s.kit.java + " is older than 17")
	}
	return fmt.Errorf("starting Kafka at %s: %w; the end of its log:\n%s", s.addr, err, tail(log))
}

// tail gives the last lines of a log.
func tail(log []byte) string {
	const most = 30

	lines := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
