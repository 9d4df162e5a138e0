package kafkatest

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Version is the Kafka that is started. The jars come from Maven Central.
const Version = "4.3.1"

// settings are a server's. What starts and restarts quickly, and lets tests have sessions of a second.
func settings(dir string, broker, controller int, own map[string]string) map[string]string {
	s := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        "1",
		"controller.quorum.voters":       fmt.Sprintf("1@%s:%d", host, controller),
		"listeners":                      fmt.Sprintf("PLAINTEXT://%[1]s:%[2]d,CONTROLLER://%[1]s:%[3]d", host, broker, controller),
		"advertised.listeners":           "PLAINTEXT://" + address(broker),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "PLAINTEXT",
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                       filepath.Join(dir, "data"),

		"auto.create.topics.enable": "false", // a topic nobody made is a mistake

		"group.initial.rebalance.delay.ms": "0",
		"group.min.session.timeout.ms":     "500",

		// One node has no replicas to give.
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",

		// What a process that was killed has left open is looked for every 10 s otherwise.
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",

		// Who starts after SIGKILL waits for the session of before, then for every partition to be recovered.
		// A session of a second is too short for a machine that is busy: the broker loses it, and every
		// partition its leader, while nothing is wrong.
		sessionTimeout:                                 "9000",
		"broker.heartbeat.interval.ms":                 "200",
		"offsets.topic.num.partitions":                 "4",
		"transaction.state.log.num.partitions":         "4",
		"share.coordinator.state.topic.num.partitions": "4",

		"log.cleaner.dedupe.buffer.size": "2097152", // 2 MiB instead of 128
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
	}
	maps.Copy(s, own)
	return s
}

// sessionTimeout is how long the controller believes in a broker it does not hear, in ms, and most of what
// a restart takes.
const sessionTimeout = "broker.session.timeout.ms"

// properties writes settings as Java reads them, sorted by name.
func properties(s map[string]string) []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s=%s\n", name, strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(s[name]))
	}
	return []byte(b.String())
}

// logging is what the broker writes to its output, which is its log file. It prints no settings: they are
// in the file beside it.
const logging = `status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
logger.config.name=org.apache.kafka.common.config
logger.config.level=warn
`
