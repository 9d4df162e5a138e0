package faults_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/translator"
)

// jobVariable holds the job of a process that a test starts: this test binary, once more.
const jobVariable = "LEAT_FAULTS_JOB"

// A job is a consumer in a process of its own.
type job struct {
	Addr, Group, In string
	Out             string // a relay's, exactly once; "": its effects are deeds
	Deeds           string // a file that every consumer appends to
	Instance        string // a static member, which a relay has to be
	Dead            string
	Window          int
	Seed            uint64 // of how long work takes
}

// workers are how many messages of a partition a consumer works on at once.
const workers = 16

// sessionTimeout is short, so that tests are.
const sessionTimeout = 2 * time.Second

// transactionTimeout is long, so that no test passes because a transaction has timed out.
const transactionTimeout = time.Minute

// A parcel is what is published: the n-th of its key.
type parcel struct {
	ID  string `json:"id"`
	Key string `json:"key"`
	N   int    `json:"n"`
}

// A deed is what a consumer writes of a message, a line of JSON: that it has taken it, and that it is done with it.
type deed struct {
	parcel
	By    int    `json:"by"`    // a process
	Done  bool   `json:"done"`  // of a job without Out it is the effect
	Again bool   `json:"again"` // it was told as redelivered
	Ended string `json:"ended"` // why its context had ended by then; "": it had not
}

// takes is how long the work on a message takes: so long that whatever becomes of a consumer finds it at work.
func takes(seed uint64, id string) time.Duration {
	const least, most = 5 * time.Millisecond, 20 * time.Millisecond
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return least + time.Duration(rand.New(rand.NewPCG(seed, h.Sum64())).Int64N(int64(most-least)))
}

// A diary is where a consumer writes its deeds.
type diary struct {
	*os.File
	seed uint64
}

// work does what is to be done with a message. Its effect is the second line.
func (f diary) work(m channel.Message[parcel]) error {
	if err := f.note(m, false); err != nil {
		return err
	}
	<-time.NewTimer(takes(f.seed, m.Body.ID)).C
	return f.note(m, true)
}

func (f diary) note(m channel.Message[parcel], done bool) error {
	d := deed{parcel: m.Body, By: os.Getpid(), Done: done, Again: m.Redelivered()}
	if ctx := m.Context(); ctx.Err() != nil {
		d.Ended = context.Cause(ctx).Error()
	}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n')) // at once: lines are whole, and in order, whoever else writes
	return err
}

// process is the process: a flow until SIGTERM. It returns the exit code.
func process(text string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return complain(err)
	}
	if err := j.run(ctx); err != nil {
		return complain(err)
	}
	return 0
}

func complain(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, err)
	return 1
}

func (j job) run(ctx context.Context) error {
	c := kafka.Cluster{Brokers: []string{j.Addr}}
	pub, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: c, TransactionTimeout: transactionTimeout})
	if err != nil {
		return err
	}
	defer func() { _ = pub.Close() }()
	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Cluster: c, Group: j.Group, Instance: j.Instance, Window: j.Window,
		SessionTimeout: sessionTimeout, HeartbeatInterval: 300 * time.Millisecond, DrainTimeout: 5 * time.Second, RebalanceTimeout: 10 * time.Second,
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	f, err := j.flow()
	if err != nil {
		return err
	}
	h, err := f.Start(context.WithoutCancel(ctx), pub, sub)
	if err != nil {
		return err
	}
	_, _ = fmt.Println(ready)
	select {
	case <-ctx.Done():
	case <-h.Done():
		return h.Err()
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return h.Drain(drain)
}

func (j job) flow() (*flow.Flow, error) {
	policy := flow.Policy{Attempts: 3, DeadLetter: channel.Topic[[]byte](j.Dead)}
	in := channel.Topic[parcel](j.In)
	file, err := os.OpenFile(j.Deeds, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f := diary{file, j.Seed}
	if j.Out != "" {
		return flow.New("relay", flow.Step("copy", in, translator.MapMessage(func(m channel.Message[parcel]) (parcel, error) {
			return m.Body, f.work(m)
		}, channel.Topic[parcel](j.Out))), policy, flow.ExactlyOnce(), flow.Group(j.Group), flow.Workers(workers))
	}
	return flow.New("effects", flow.Step("note", in, endpoint.DoMessage(f.work)), policy, flow.Group(j.Group), flow.Workers(workers))
}

// ready is what a process says when it works: from then on it stops when it is asked to.
const ready = "ready"

// A consumer is a job's process.
type consumer struct {
	*exec.Cmd
	ready chan struct{}
	ended chan error
}

// start begins a process, which ends with the test at the latest.
func (j job) start(t *testing.T) *consumer {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	c := &consumer{exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0]), make(chan struct{}), make(chan error, 1)}
	c.Env = append(os.Environ(), jobVariable+"="+string(text))
	c.Stderr = os.Stderr
	said, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if lines.Text() == ready {
				close(c.ready)
			}
		}
		c.ended <- c.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() { c.kill() })
	return c
}

// kill is kill -9.
func (c *consumer) kill() {
	_ = c.Process.Kill()
	for range c.ended {
		continue // until it has ended
	}
}

// stop asks the process to end, and wants it to do so in good order.
func (c *consumer) stop(t *testing.T) {
	t.Helper()
	select {
	case <-c.ready:
	case err := <-c.ended:
		t.Errorf("a consumer has ended by itself: %v", err)
		return
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			t.Errorf("a consumer that was asked to stop: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a consumer does not stop when it is asked to")
	}
}
