package tracing

import semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

// Every name that spans, metrics and log lines carry is in this file; docs/tracing.md has them as a
// table, and a test compares the two. Those that begin with "messaging." or "error." are of the
// OpenTelemetry semantic conventions 1.43.0 (status: development), those that begin with "eip." ours.

// Operations: a span's name is one of them and what it is done to, as in "process orders".
const (
	OpProcess   = "process"   // a step works on a message: CONSUMER; over a direct hop INTERNAL
	OpSend      = "send"      // a message leaves for a topic: PRODUCER
	OpCreate    = "create"    // a message is handed to a Watermill router, which publishes it: PRODUCER
	OpAggregate = "aggregate" // a step makes one message of many: INTERNAL, linked to each of them
	OpFire      = "fire"      // a step acts because of time: INTERNAL
	OpSource    = "source"    // a source speaks: INTERNAL
	OpAttempt   = "attempt"   // one try, with Config.AttemptSpans: INTERNAL
)

// Attributes of spans. Those of metrics are the same; docs/tracing.md says which has which.
const (
	System        = string(semconv.MessagingSystemKey)
	OperationName = string(semconv.MessagingOperationNameKey)
	OperationType = string(semconv.MessagingOperationTypeKey)
	Destination   = string(semconv.MessagingDestinationNameKey)
	Template      = string(semconv.MessagingDestinationTemplateKey) // of a topic that a message names
	ConsumerGroup = string(semconv.MessagingConsumerGroupNameKey)
	MessageID     = string(semconv.MessagingMessageIDKey)
	Conversation  = string(semconv.MessagingMessageConversationIDKey)
	BatchCount    = string(semconv.MessagingBatchMessageCountKey)      // of an aggregate: its members
	Partition     = string(semconv.MessagingDestinationPartitionIDKey) // that a message came from
	Offset        = string(semconv.MessagingKafkaOffsetKey)            // its offset there
	ErrorType     = string(semconv.ErrorTypeKey)                       // transient, permanent, expired, panic, publish, settle

	Flow       = "eip.flow"
	Step       = "eip.step"
	Pattern    = "eip.pattern" // the step's, in the words of the book
	Route      = "eip.route"   // the outlet's name: of the branch
	Inlet      = "eip.inlet"   // the name of a way in that is not the step's own topic: a second topic, a clock
	Direct     = "eip.direct"  // true: a hop in the process
	Letter     = "eip.dead_letter"
	Outcome    = "eip.outcome"     // sent, done, held, dropped, invalid, expired, dead, returned
	Reason     = "eip.reason"      // of a drop, or why a group was complete
	Attempt    = "eip.attempt"     // from 1
	Pause      = "eip.pause"       // seconds until the next attempt
	FailedStep = "eip.failed_step" // where an attempt failed, if that is a step behind a direct hop
)

// Events of spans.
const (
	EventRetry  = "retry"  // an attempt failed and counts: Attempt, ErrorType, FailedStep, Pause
	EventLater  = "later"  // it waits, and that counts as no attempt: ErrorType, FailedStep, Pause
	EventResend = "resend" // a publish failed and is tried again: Attempt, ErrorType, Pause
	EventSettle = "settle failed"
)

// Instruments. Durations are in seconds.
const (
	ProcessDuration   = "messaging.process.duration"
	OperationDuration = "messaging.client.operation.duration"
	SentMessages      = "messaging.client.sent.messages"
	ConsumedMessages  = "messaging.client.consumed.messages"

	Received    = "eip.received"    // every message that came to a step
	Outcomes    = "eip.outcomes"    // what they came to, by Outcome and Reason; with InFlight they are as many as Received
	InFlight    = "eip.in_flight"   // that have come to nothing yet
	Released    = "eip.released"    // held before, gone from the store since
	Retries     = "eip.retries"     // attempts after the first
	Laters      = "eip.later"       // pauses that were nobody's fault
	Redelivered = "eip.redelivered" // received that had been delivered before
	Fired       = "eip.fired"       // due keys of clocks
	Lost        = "eip.lost"        // best-effort deliveries that were lost
	OpenGroups  = "eip.groups.open" // groups that wait to be complete
	Lag         = "eip.lag"         // messages of a topic that a group has not finished

	// ReaderPartitions and the following are of a subscriber of an adapter, whatever reads by it.
	ReaderPartitions  = "eip.reader.partitions"   // it owns
	ReaderInFlight    = "eip.reader.in_flight"    // given out and not finished
	ReaderOldest      = "eip.reader.oldest"       // how long the oldest of these has been out, about
	ReaderLag         = "eip.reader.lag"          // behind what is finished, in the partitions it owns
	ReaderRebalances  = "eip.reader.rebalances"   // sessions begun
	ReaderRedelivered = "eip.reader.redelivered"  // delivered to a channel that may have been delivered before
	ReaderLetters     = "eip.reader.dead_letters" // dead letters of a plain subscription
	ReaderParked      = "eip.reader.parked"       // records that are no messages and have no dead letter
)

// Keys of log lines.
const (
	LogFlow      = "flow"
	LogStep      = "step"
	LogMessageID = "message_id"
	LogAttempt   = "attempt"
	LogTraceID   = "trace_id"
	LogTopic     = "topic"
	LogError     = "error"
	LogMore      = "more" // times the same trouble came since the line before
	LogFailed    = "failed_step"
)

// InstrumentationName is the name of our tracer and our meter.
const InstrumentationName = "github.com/leat-go/leat"
