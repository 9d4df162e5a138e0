package kafka_test

import (
	"fmt"

	"github.com/leat-go/leat/adapters/kafka"
)

// A cluster with an authority of its own that wants to see a certificate (mutual TLS). The files are read at
// once, and again for every new connection.
func ExampleTLS() {
	_, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: kafka.Cluster{
		Brokers: []string{"broker-1.kafka.example:9093"},
		TLS:     &kafka.TLS{CAFile: "/none/ca.pem", CertFile: "/none/tls.crt", KeyFile: "/none/tls.key"},
	}})
	fmt.Println(err)
	// Output:
	// kafka adapter is not configured right: Cluster.TLS.CAFile: open /none/ca.pem: no such file or directory: give a file of certificates in PEM, or "" for the system's authorities
	// kafka adapter is not configured right: Cluster.TLS.CertFile, KeyFile: /none/tls.crt with /none/tls.key: open /none/tls.crt: no such file or directory: give a certificate and its key in PEM, not encrypted
}
