package kafka

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// The defaults are those that the documentation says: each "0: 10 s" and `"": "leat"` there is compared with what
// an empty field becomes.
func TestDocumentedDefaults(t *testing.T) {
	pub, sub := PublisherConfig{}.withDefaults(), SubscriberConfig{}.withDefaults()
	read := 0
	for _, x := range []struct {
		file, name string
		value      any
		want       int // defaults that are numbers or names
	}{
		{"cluster.go", "Cluster", pub.Cluster, 4},
		{"publisher_config.go", "PublisherConfig", pub, 2},
		{"subscriber_config.go", "SubscriberConfig", sub, 9},
		{"subscriber_config.go", "Backoff", sub.Backoff, 2},
	} {
		v, n := reflect.ValueOf(x.value), 0
		for field, doc := range docs(t, x.file, x.name) {
			want, ok := documented(t, doc)
			if !ok {
				continue
			}
			n++
			if got := v.FieldByName(field).Interface(); got != reflect.ValueOf(want).Convert(reflect.TypeOf(got)).Interface() {
				t.Errorf("%s.%s is %v by default, and documented as %v", x.name, field, got, want)
			}
		}
		if n < x.want {
			t.Errorf("%d defaults of %s are documented, want %d at least", n, x.name, x.want)
		}
		read += n
	}
	if sub.HeartbeatInterval != 3*time.Second || sub.MaxAttempts != 0 || sub.DeadLetter != "" {
		t.Errorf("HeartbeatInterval is %v, MaxAttempts %d and DeadLetter %q by default", sub.HeartbeatInterval, sub.MaxAttempts, sub.DeadLetter)
	}
	t.Log(read, "defaults")
}

// docs gives the comments of a struct's fields.
func docs(t *testing.T, file, name string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != name {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			for _, n := range field.Names {
				all[n.Name] = strings.Join(strings.Fields(field.Doc.Text()+" "+field.Comment.Text()), " ")
			}
		}
		return false
	})
	return all
}

var (
	numeric = regexp.MustCompile(`\b0: ([0-9][0-9,]*)(?: (ms|s|MiB))?\b`)
	textual = regexp.MustCompile(`"": "([^"]+)"`)
)

// documented reads the default in a comment, if it is a number or a name.
func documented(t *testing.T, doc string) (any, bool) {
	t.Helper()
	if m := textual.FindStringSubmatch(doc); m != nil {
		return m[1], true
	}
	m := numeric.FindStringSubmatch(doc)
	if m == nil {
		return nil, false
	}
	n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	unit := map[string]int{"": 1, "ms": int(time.Millisecond), "s": int(time.Second), "MiB": 1 << 20}[m[2]]
	return n * unit, true
}

// What is set is what the client is told, and where nothing is, the safe choice. Breaks if a name is put before the first of its
// kind, or if a setting does not reach the client.
func TestSettingsReachTheClient(t *testing.T) {
	told := func(pub PublisherConfig, sub SubscriberConfig) map[string]any {
		pub, sub = pub.withDefaults(), sub.withDefaults()
		writes, err := pub.config()
		if err != nil {
			t.Fatal(err)
		}
		reads, err := sub.config()
		if err != nil {
			t.Fatal(err)
		}
		group := reads.Consumer.Group
		var strategies []string
		for _, s := range group.Rebalance.GroupStrategies {
			strategies = append(strategies, s.Name())
		}
		return map[string]any{
			"ClientID": writes.ClientID, "Version": reads.Version, "DialTimeout": reads.Net.DialTimeout, "ReadTimeout": reads.Net.ReadTimeout,
			"Compression": writes.Producer.Compression,
			"Order":       newClaim(t.Context(), &sub, nobody{}, nil, "topic", 0, 0).Order(),
			"Start":       reads.Consumer.Offsets.Initial, "Isolation": reads.Consumer.IsolationLevel, "FetchBytes": reads.Consumer.Fetch.Default,
			"RefreshInterval": reads.Metadata.RefreshFrequency, "Instance": group.InstanceId, "Strategy": fmt.Sprint(strategies),
			"SessionTimeout": group.Session.Timeout, "HeartbeatInterval": group.Heartbeat.Interval, "RebalanceTimeout": group.Rebalance.Timeout,
			"commits": reads.Consumer.Offsets.AutoCommit.Enable,
			"creates": writes.Metadata.AllowAutoTopicCreation || reads.Metadata.AllowAutoTopicCreation,
		}
	}
	is := func(which string, got, want map[string]any) {
		for name := range got {
			if got[name] != want[name] {
				t.Errorf("%s: of %s the client is told %v, want %v", which, name, got[name], want[name])
			}
		}
	}
	is("zero values", told(PublisherConfig{}, SubscriberConfig{}), map[string]any{
		"ClientID": "leat", "Version": sarama.V2_8_0_0, "DialTimeout": 10 * time.Second, "ReadTimeout": 30 * time.Second,
		"Compression": sarama.CompressionSnappy,
		"Order":       adapters.KeyOrdered,
		"Start":       sarama.OffsetOldest, "Isolation": sarama.ReadCommitted, "FetchBytes": int32(2 << 20),
		"RefreshInterval": 30 * time.Second, "Instance": "", "Strategy": "[cooperative-sticky]",
		"SessionTimeout": 10 * time.Second, "HeartbeatInterval": 3 * time.Second, "RebalanceTimeout": time.Minute,
		"commits": false, "creates": false,
	})
	c := Cluster{ClientID: "me", Version: "3.0.0", DialTimeout: time.Second, ReadTimeout: 2 * time.Second}
	is("other values", told(PublisherConfig{Cluster: c, Compression: Zstd}, SubscriberConfig{
		Cluster: c, Order: adapters.Ordered, Start: Newest, ReadUncommitted: true, FetchBytes: 1000, RefreshInterval: 3 * time.Second,
		Group: "g", Instance: "i", Strategy: FromRange, SessionTimeout: 4 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
		RebalanceTimeout: 5 * time.Second,
	}), map[string]any{
		"ClientID": "me", "Version": sarama.V3_0_0_0, "DialTimeout": time.Second, "ReadTimeout": 2 * time.Second,
		"Compression": sarama.CompressionZSTD,
		"Order":       adapters.Ordered,
		"Start":       sarama.OffsetNewest, "Isolation": sarama.ReadUncommitted, "FetchBytes": int32(1000),
		"RefreshInterval": 3 * time.Second, "Instance": "i", "Strategy": "[cooperative-sticky range]",
		"SessionTimeout": 4 * time.Second, "HeartbeatInterval": 500 * time.Millisecond, "RebalanceTimeout": 5 * time.Second,
		"commits": false, "creates": false,
	})
}

// Everything that is wrong is said at once, by the name of its field, and before anything connects.
func TestWrongSettings(t *testing.T) {
	dialled := false
	c := Cluster{
		Version: "0.9.9.9.9", DialTimeout: -1, ReadTimeout: -1,
		TLS:  &TLS{CAFile: t.TempDir() + "/none.pem"},
		SASL: &SASL{Mechanism: "SESAME"},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dialled = true
			return nil, errNoRoom
		},
	}
	limits := channel.Limits{Body: -1}
	create := &Create{Partitions: -1, Replication: -1}
	_, err := NewPublisher(PublisherConfig{Cluster: c, SendTimeout: -1, Compression: 99, Limits: limits, Create: create, TransactionTimeout: -1})
	names := []string{
		"Cluster.Brokers", "Cluster.Version", "Cluster.DialTimeout", "Cluster.ReadTimeout", "Cluster.TLS.CAFile", "Cluster.SASL.Mechanism",
		"Limits", "Create.Partitions", "Create.Replication",
	}
	complains(t, err, append(names, "SendTimeout", "Compression", "TransactionTimeout")...)
	_, err = NewSubscriber(SubscriberConfig{
		Cluster: c, Limits: limits, Create: create, Order: 99, Lanes: -1, Window: -1, WindowBytes: -1, CommitInterval: -1,
		Backoff: Backoff{Base: -1}, MaxAttempts: -1, DrainTimeout: -1, Start: 99, Strategy: 99, SessionTimeout: -1, HeartbeatInterval: -1,
		RebalanceTimeout: -2, RefreshInterval: -1, FetchBytes: -1,
	})
	complains(t, err, append(names, "Order", "Lanes", "Window", "WindowBytes", "CommitInterval", "Backoff", "MaxAttempts", "DeadLetter",
		"DrainTimeout", "Start", "Strategy", "SessionTimeout", "HeartbeatInterval", "RebalanceTimeout", "RefreshInterval", "FetchBytes")...)
	_, err = NewPublisher(PublisherConfig{Cluster: Cluster{
		Brokers: []string{"no port"}, SASL: &SASL{Mechanism: Plain, User: "u", Password: NewSecret("hidden")},
	}})
	complains(t, err, "Cluster.Brokers[0]", "Cluster.TLS")
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("the error gives the password away: %v", err)
	}
	if dialled {
		t.Error("something was dialled")
	}
}

// A publisher whose limits no dead letter is within is refused; a subscriber's are its own affair. A flow gives the group itself.
func TestLimitsHaveRoomForDeadLetters(t *testing.T) {
	c := Cluster{Brokers: []string{"127.0.0.1:1"}}
	for _, narrow := range []channel.Limits{{Headers: letterHeaders - 1}, {Header: letterHeader - 1}, {HeaderBytes: letterHeaderBytes - 1}} {
		_, err := NewPublisher(PublisherConfig{Cluster: c, Limits: narrow})
		complains(t, err, "Limits")
		s, err := NewSubscriber(SubscriberConfig{Cluster: c, Limits: narrow, Instance: "1", DeadLetter: "dead", MaxAttempts: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	p, err := NewPublisher(PublisherConfig{Cluster: c, Limits: channel.Limits{Body: 1, Headers: letterHeaders, Header: letterHeader, HeaderBytes: letterHeaderBytes}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// complains fails the test unless an error names every field.
func complains(t *testing.T, err error, fields ...string) {
	t.Helper()
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("%v, want an ErrConfig", err)
	}
	for _, f := range fields {
		if !strings.Contains(err.Error(), " "+f+" is ") && !strings.Contains(err.Error(), ": "+f+" ") && !strings.Contains(err.Error(), ": "+f+":") {
			t.Errorf("the error does not name %s: %v", f, err)
		}
	}
}

// Letting go takes a little longer than DrainTimeout, and a rebalance has to wait for it. Breaks if a member is expelled while it
// still lets go in time.
func TestRebalancesOutlastTheDrain(t *testing.T) {
	for rebalance, right := range map[time.Duration]bool{30 * time.Second: false, 34 * time.Second: false, 35 * time.Second: true} {
		_, err := NewSubscriber(SubscriberConfig{
			Cluster: Cluster{Brokers: []string{"a:1"}}, Group: "g", DrainTimeout: 30 * time.Second, RebalanceTimeout: rebalance,
		})
		if right && err != nil {
			t.Errorf("%v: %v", rebalance, err)
		}
		if !right {
			complains(t, err, "RebalanceTimeout")
		}
	}
}
