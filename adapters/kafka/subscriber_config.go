package kafka

import (
	"errors"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/tracing"
)

// A SubscriberConfig is what a Subscriber is made with. Only Cluster.Brokers must be given: the zero value
// of every other field is the safe choice.
type SubscriberConfig struct {
	Cluster Cluster
	// Group is the consumer group: every group sees every message, its members share them. "": none, and the
	// subscriber sees every message of every partition, from Start on, and remembers nothing. A flow does not use it: its
	// group is its name, or flow.Group.
	Group string
	// Instance makes the member a static one (group.instance.id): it comes back to its partitions after a
	// restart within SessionTimeout, without a rebalance. It must be the same after the restart and another
	// in every other process. A Subscriber's second member of a group at the same time is Instance-2, and so on. "": none.
	Instance string
	// Order says which messages of a partition may be in flight at once. Default: one of each key. Messages
	// without a key keep their order among themselves.
	Order adapters.Order
	// SpreadKeyless gives up the order of messages without a key.
	SpreadKeyless bool
	// Lanes is how many keys of a partition can be in flight at once where the subscriber delivers to a
	// channel (Subscribe); with more keys than that, some share a lane. A flow has its own (flow.Workers). 0: 256.
	Lanes int
	// Window is how many messages of a partition may be delivered beyond the last committed one: what is
	// repeated at most after a crash. One slow message holds the commit up: the others of its partition go on so far.
	// 0: 16,384.
	Window int
	// WindowBytes is how many bytes of one partition may be in flight, and nearly as many wait to be. 0: 16 MiB.
	WindowBytes int
	// CommitInterval is how often finished offsets are committed, at the latest; a quarter of Window has
	// them committed at once. 0: 200 ms.
	CommitInterval time.Duration
	// Backoff is the pause before a nacked message comes again, where the subscriber delivers to a channel.
	Backoff Backoff
	// MaxAttempts is after how many nacks a message goes to DeadLetter, where the subscriber delivers to a
	// channel; a flow counts for itself. Give it with DeadLetter, or neither. 0: never.
	MaxAttempts int
	// DeadLetter is the topic, not a compacted one, for messages that were nacked MaxAttempts times and for records that are no
	// messages, where the subscriber delivers to a channel; a flow has its own. "": such records are parked:
	// they are not acknowledged, and logged as errors, while what follows them goes on until Window is full.
	DeadLetter string
	// DrainTimeout is how long Close, the end of a subscription's context and a rebalance wait for what is in
	// flight. What is not acknowledged by then is delivered again. It should be less than the router's
	// CloseTimeout. 0: 10 s.
	DrainTimeout time.Duration
	// Start is where a group begins that has committed nothing, and every subscriber without a group. One whose next message
	// was deleted goes on at the oldest.
	Start Start
	// ReadUncommitted delivers messages of transactions that are not committed, and of aborted ones. A flow that is ExactlyOnce
	// refuses it.
	ReadUncommitted bool
	// Strategy says how partitions are shared. Default: CooperativeSticky.
	Strategy Strategy
	// SessionTimeout is after how long without a heartbeat a member counts as dead. 0: 10 s.
	SessionTimeout time.Duration
	// HeartbeatInterval is the time between heartbeats. 0: a third of SessionTimeout, at most 3 s.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long a member may take to let go of partitions: more than DrainTimeout, a tenth of it and 1 s.
	// 0: 60 s.
	RebalanceTimeout time.Duration
	// RefreshInterval is how often new partitions and leaders are looked for. 0: 30 s.
	RefreshInterval time.Duration
	// FetchBytes is how much of a partition one request asks for: more is faster, and takes memory for each partition. 0: 2 MiB.
	FetchBytes int
	// Limits bound one message, its id and its key like a header each: what is beyond them arrives as a record that is no
	// message. Zero fields: the defaults of channel.Limits.
	Limits channel.Limits
	// Create makes topics that are missing, DeadLetter too. Nil: a missing topic is an error.
	Create *Create
	// Telemetry says where the instruments are (docs/tracing.md, eip.reader). The zero value: at OpenTelemetry's
	// global provider.
	Telemetry tracing.Config
}

// A Backoff is the pause before a message that was nacked comes again: random up to Base, which doubles
// with every nack of the message, up to Cap.
type Backoff struct {
	Base time.Duration // 0: 50 ms
	Cap  time.Duration // 0: 10 s, or Base if that is longer
}

// Start says where to begin.
type Start uint8

// The starts.
const (
	Oldest Start = iota // at the oldest message there is
	Newest              // with what is published from SubscribeInitialize, or the first claim, on; committed at once
)

// Strategy says how the partitions of a group are shared among its members.
type Strategy uint8

// The strategies.
const (
	// CooperativeSticky moves as few partitions as it can, and the others go on meanwhile.
	CooperativeSticky Strategy = iota
	// FromRange is for joining a group whose members still use range: it speaks both. When every member has
	// it, go on to CooperativeSticky, one member after another.
	FromRange
	// Range, RoundRobin and Sticky stop every member in every rebalance.
	Range
	RoundRobin
	Sticky
)

func (s Strategy) strategies() []sarama.BalanceStrategy {
	switch s {
	case FromRange:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky(), sarama.NewBalanceStrategyRange()}
	case Range:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	case RoundRobin:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategyRoundRobin()}
	case Sticky:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	case CooperativeSticky:
	}
	return []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
}

const defaultFetch = 2 << 20

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	c.Cluster = c.Cluster.withDefaults()
	c.Lanes = or(c.Lanes, 256)
	c.Window = or(c.Window, 16<<10)
	c.WindowBytes = or(c.WindowBytes, 16<<20)
	c.CommitInterval = or(c.CommitInterval, 200*time.Millisecond)
	c.Backoff.Base = or(c.Backoff.Base, 50*time.Millisecond)
	c.Backoff.Cap = or(c.Backoff.Cap, max(10*time.Second, c.Backoff.Base))
	c.DrainTimeout = or(c.DrainTimeout, 10*time.Second)
	c.SessionTimeout = or(c.SessionTimeout, 10*time.Second)
	c.HeartbeatInterval = or(c.HeartbeatInterval, min(c.SessionTimeout/3, 3*time.Second))
	c.RebalanceTimeout = or(c.RebalanceTimeout, time.Minute)
	c.RefreshInterval = or(c.RefreshInterval, 30*time.Second)
	c.FetchBytes = or(c.FetchBytes, defaultFetch)
	c.Limits = limits(c.Limits)
	return c
}

// validate gives every mistake, defaults filled in.
func (c *SubscriberConfig) validate() error {
	const most = 1 << 20
	return errors.Join(append(c.Cluster.wrong(),
		check(c.Order <= adapters.Unordered, "Order is %d: give KeyOrdered, Ordered or Unordered", c.Order),
		check(c.Lanes > 0 && c.Lanes <= most, "Lanes is %d: give a number up to %d, or 0 for 256", c.Lanes, most),
		check(c.Window > 0 && c.Window <= most, "Window is %d: give a number of messages up to %d, or 0 for 16384", c.Window, most),
		check(c.WindowBytes > 0, "WindowBytes is %d: give a number of bytes, or 0 for 16 MiB", c.WindowBytes),
		check(c.CommitInterval > 0, "CommitInterval is %v: give a duration, or 0 for 200ms", c.CommitInterval),
		check(c.Backoff.Base > 0 && c.Backoff.Base <= c.Backoff.Cap, "Backoff is %v up to %v: give 0 < Base <= Cap, or 0 for 50ms up to 10s", c.Backoff.Base, c.Backoff.Cap),
		check(c.MaxAttempts >= 0, "MaxAttempts is %d: give a number of attempts, or 0 for no limit", c.MaxAttempts),
		check((c.MaxAttempts == 0) == (c.DeadLetter == ""), "MaxAttempts is %d and DeadLetter is %q: give both, or neither to try for ever", c.MaxAttempts, c.DeadLetter),
		check(c.DrainTimeout > 0, "DrainTimeout is %v: give a duration, or 0 for 10s", c.DrainTimeout),
		check(c.Start <= Newest, "Start is %d: give Oldest or Newest", c.Start),
		check(c.Strategy <= Sticky, "Strategy is %d: give CooperativeSticky, FromRange, Range, RoundRobin or Sticky", c.Strategy),
		check(c.SessionTimeout > 0, "SessionTimeout is %v: give a duration, or 0 for 10s", c.SessionTimeout),
		check(c.HeartbeatInterval > 0 && c.HeartbeatInterval < c.SessionTimeout, "HeartbeatInterval is %v: give less than SessionTimeout, which is %v, or 0 for a third of it", c.HeartbeatInterval, c.SessionTimeout),
		check(c.RebalanceTimeout > c.ending(), "RebalanceTimeout is %v: give more than the %v that letting go may take with a DrainTimeout of %v, or 0 for 1m",
			c.RebalanceTimeout, c.ending(), c.DrainTimeout),
		check(c.RefreshInterval > 0, "RefreshInterval is %v: give a duration, or 0 for 30s", c.RefreshInterval),
		check(c.FetchBytes > 0 && c.FetchBytes <= most<<10, "FetchBytes is %d: give a number of bytes up to 1 GiB, or 0 for 2 MiB", c.FetchBytes),
		wrongLimits(c.Limits),
		c.Create.wrong(),
	)...)
}

// config is the client's.
func (c *SubscriberConfig) config() (*sarama.Config, error) {
	s, err := c.Cluster.config()
	if err != nil {
		return nil, err
	}
	s.Metadata.RefreshFrequency = c.RefreshInterval
	g := &s.Consumer
	g.Return.Errors = true
	g.Fetch.Default = int32(c.FetchBytes) //nolint:gosec // validate has looked at it.
	g.MaxWaitTime = 250 * time.Millisecond
	g.MaxProcessingTime = 2 * time.Second // the intake never takes longer than holdUp
	g.Offsets.AutoCommit.Enable = false   // the member commits, and knows what is committed
	g.Offsets.Initial = sarama.OffsetOldest
	if c.Start == Newest {
		g.Offsets.Initial = sarama.OffsetNewest
	}
	if !c.ReadUncommitted {
		g.IsolationLevel = sarama.ReadCommitted
	}
	g.Group.Rebalance.GroupStrategies = c.Strategy.strategies()
	g.Group.Rebalance.Timeout = c.RebalanceTimeout
	g.Group.Rebalance.Retry.Max = 10
	g.Group.Rebalance.Retry.Backoff = 200 * time.Millisecond
	g.Group.Session.Timeout = c.SessionTimeout
	g.Group.Heartbeat.Interval = c.HeartbeatInterval
	g.Group.InstanceId = c.Instance
	g.Retry.BackoffFunc = func(n int) time.Duration { return pause(50*time.Millisecond, time.Second, n) }
	return s, nil
}
