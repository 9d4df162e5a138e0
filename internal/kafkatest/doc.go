// Package kafkatest gives tests a real Kafka, or one in the process.
//
//	func TestMain(m *testing.M) { kafkatest.Main(m) }
//
//	func TestOrders(t *testing.T) {
//		addr := kafkatest.Shared(t).Addr()
//		topic := kafkatest.Topic(t, addr, 3)
//		…
//	}
//
// [Shared] is one server for the whole test binary, [Own] one for a test that kills it, [Fake] one in
// the process that is there in a millisecond.
//
// A server is Kafka's own, one node, on free ports of 127.0.0.1, with its data in a temporary directory.
// It needs Java 17 or newer, and Maven until the jars are in the cache: $LEAT_CACHE, or "leat" below the
// user's cache directory (44 MB). `make prepare` fetches them beforehand. With LEAT_KAFKA=host:port Shared
// is that broker, and nothing is started for it.
//
// Where no server can be had, tests are skipped with one line that says what to install; with CI set they
// fail.
//
// A server does not outlive the test process, even one that is killed; nor do its data.
package kafkatest
