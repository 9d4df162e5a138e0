package kafka

import (
	"errors"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// A PublisherConfig is what a Publisher is made with. Only Cluster.Brokers must be given: the zero value of
// every other field is the safe choice.
type PublisherConfig struct {
	Cluster Cluster
	// SendTimeout is how long a message may wait for its acknowledgement; then it has failed with
	// ErrUnknown, or, if it was never handed to a broker, with why not. A message's own deadline may be
	// earlier. 0: 20 s.
	SendTimeout time.Duration
	// Compression of what is sent. The zero value is Snappy.
	Compression Compression
	// Key gives the key of a published message, "" for none. Nil: its header channel.HeaderKey, else the key of
	// the message that its context comes from, if a Subscriber of this package delivered that. Send does not ask it: a flow's
	// messages have the keys that the flow gives them.
	Key func(topic string, m *message.Message) string
	// Murmur2 spreads keys over partitions as Java's clients do, so that both agree where a key goes. Off, the
	// hash is FNV-1a, as watermill-kafka's.
	Murmur2 bool
	// AllowDuplicates gives up the idempotent producer: what is sent again after a lost answer may be on its topic
	// twice. It is no faster. It is for clusters whose rules forbid idempotent producers.
	AllowDuplicates bool
	// Limits bound one message, its id and its key like a header each: beyond them Publish gives channel.ErrTooLarge before
	// anything is sent. Zero fields: the defaults of channel.Limits. At least 16 Headers, 512 bytes of a Header and 4 KiB of
	// HeaderBytes, which a dead letter needs.
	Limits channel.Limits
	// Create makes topics that are missing. Nil: a missing topic is an error.
	Create *Create
	// TransactionalID names this publisher for transactions (flow.ExactlyOnce). It must be the same after a
	// restart and another in every other process: a second one of the same name ends the first. "": the
	// group and the Instance of the Subscriber that the first flow reads with, the first of several. Give it
	// where one process has two publishers for the same group.
	TransactionalID string
	// TransactionTimeout is how long a transaction may take before it is aborted and tried again, and how long that of a
	// process that died, and does not come back, keeps readers of committed messages waiting. 0: 10 s. At most the broker's
	// transaction.max.timeout.ms.
	TransactionTimeout time.Duration
}

// Compression says how batches are compressed.
type Compression uint8

// The compressions.
const (
	Snappy Compression = iota // the default
	LZ4
	Zstd
	Gzip
	Uncompressed
)

func (c Compression) codec() sarama.CompressionCodec {
	return [...]sarama.CompressionCodec{
		Snappy: sarama.CompressionSnappy, LZ4: sarama.CompressionLZ4, Zstd: sarama.CompressionZSTD,
		Gzip: sarama.CompressionGZIP, Uncompressed: sarama.CompressionNone,
	}[c]
}

// Create says how topics are made.
type Create struct {
	Partitions  int               // 0: the broker's default
	Replication int               // 0: the broker's default
	Config      map[string]string // of the topic, such as "cleanup.policy"; nil: the broker's own
}

func (c *Create) wrong() error {
	const most = 10_000
	if c == nil {
		return nil
	}
	return errors.Join(
		check(c.Partitions >= 0 && c.Partitions <= most, "Create.Partitions is %d: give a number up to %d, or 0 for the broker's default", c.Partitions, most),
		check(c.Replication >= 0 && c.Replication <= most, "Create.Replication is %d: give a number up to %d, or 0 for the broker's default", c.Replication, most),
	)
}

func (c PublisherConfig) withDefaults() PublisherConfig {
	c.Cluster = c.Cluster.withDefaults()
	c.SendTimeout = or(c.SendTimeout, 20*time.Second)
	c.TransactionTimeout = or(c.TransactionTimeout, 10*time.Second)
	c.Limits = limits(c.Limits)
	return c
}

// limits fills in the defaults of channel.Limits: they are compared with here, message by message.
func limits(l channel.Limits) channel.Limits {
	const kib = 1024
	return channel.Limits{
		Body: or(l.Body, 1_000_000), Headers: or(l.Headers, 64), Header: or(l.Header, 8*kib), HeaderBytes: or(l.HeaderBytes, 32*kib),
	}
}

func wrongLimits(l channel.Limits) error {
	return check(min(l.Body, l.Headers, l.Header, l.HeaderBytes) > 0, "Limits has a negative field: give 0 for a default")
}

// lettersWithin are the limits of the dead letters of a subscriber, which have headers of their own: narrower ones than the
// defaults would be too narrow for them.
func lettersWithin(l channel.Limits) channel.Limits {
	d := limits(channel.Limits{})
	return channel.Limits{
		Body: max(l.Body, d.Body), Headers: max(l.Headers, d.Headers), Header: max(l.Header, d.Header), HeaderBytes: max(l.HeaderBytes, d.HeaderBytes),
	}
}

// What the least dead letter of a flow has.
const (
	letterHeaders     = 16
	letterHeader      = 512
	letterHeaderBytes = 4 << 10
)

// tooNarrow finds limits that a dead letter of a flow can not be within.
func tooNarrow(l channel.Limits) error {
	return check(min(l.Body, l.Headers, l.Header, l.HeaderBytes) < 0 ||
		l.Headers >= letterHeaders && l.Header >= letterHeader && l.HeaderBytes >= letterHeaderBytes,
		"Limits is Headers %d, Header %d and HeaderBytes %d: a dead letter needs %d, %d and %d, give these at least, or 0 for 64, 8 KiB and 32 KiB",
		l.Headers, l.Header, l.HeaderBytes, letterHeaders, letterHeader, letterHeaderBytes)
}

// validate gives every mistake, defaults filled in.
func (c *PublisherConfig) validate() error {
	return errors.Join(append(c.Cluster.wrong(),
		check(c.SendTimeout > 0, "SendTimeout is %v: give a duration, or 0 for 20s", c.SendTimeout),
		check(c.TransactionTimeout >= time.Millisecond, "TransactionTimeout is %v: give a millisecond at least, or 0 for 10s", c.TransactionTimeout),
		check(c.Compression <= Uncompressed, "Compression is %d: give Snappy, LZ4, Zstd, Gzip or Uncompressed", c.Compression),
		wrongLimits(c.Limits), tooNarrow(c.Limits),
		c.Create.wrong(),
	)...)
}

// config is the client's.
func (c *PublisherConfig) config() (*sarama.Config, error) {
	s, err := c.Cluster.config()
	if err != nil {
		return nil, err
	}
	p := &s.Producer
	p.Timeout = c.Cluster.ReadTimeout / 2
	p.Compression = c.Compression.codec()
	p.Partitioner = sarama.NewHashPartitioner
	if c.Murmur2 {
		p.Partitioner = sarama.NewMurmur2Partitioner
	}
	p.MaxMessageBytes = max(1<<20, c.Limits.Body+c.Limits.HeaderBytes+16<<10)
	return s, nil
}
