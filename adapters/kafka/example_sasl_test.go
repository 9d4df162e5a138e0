package kafka_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/leat-go/leat/adapters/kafka"
)

// A managed cluster wants TLS, and an API key with its secret. Nothing connects before the first use.
func ExampleSASL() {
	cluster := kafka.Cluster{
		Brokers: []string{"broker-1.kafka.example:9092"},
		TLS:     &kafka.TLS{}, // the system's authorities
		SASL:    &kafka.SASL{Mechanism: kafka.Plain, User: "api-key", Password: kafka.NewSecret("api-secret")},
	}
	pub, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: cluster})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pub.Close()
	fmt.Println("user", cluster.SASL.User, "password", cluster.SASL.Password)
	// Output: user api-key password ***
}

// A token of an authorization server. Keep it until shortly before it ends, as oauth2.ReuseTokenSource does.
func ExampleSASL_token() {
	tokens := func(_ context.Context) (string, error) { return "eyJhbGciOi.eyJzdWIi.c2ln", nil } // yours
	cluster := kafka.Cluster{
		Brokers: []string{"broker-1.kafka.example:9092"},
		TLS:     &kafka.TLS{},
		SASL: &kafka.SASL{Token: func(ctx context.Context) (kafka.Token, error) {
			token, err := tokens(ctx)
			return kafka.Token{Value: kafka.NewSecret(token)}, err
		}},
	}
	_, err := kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: cluster, Group: "billing"})
	fmt.Println(err)
	// Output: <nil>
}

// A password in a file that something else replaces: the next connection has the new one.
func ExampleSASL_credentials() {
	cluster := kafka.Cluster{
		Brokers: []string{"127.0.0.1:9092"},
		SASL: &kafka.SASL{Credentials: func(context.Context) (string, kafka.Secret, error) {
			password, err := os.ReadFile("/run/secrets/kafka")
			return "billing", kafka.NewSecret(strings.TrimSpace(string(password))), err
		}},
	}
	_, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: cluster})
	fmt.Println(err)
	// Output: <nil>
}

// What is wrong is said by field, all at once, before anything connects.
func ExampleSASL_wrong() {
	_, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: kafka.Cluster{
		Brokers: []string{"127.0.0.1:9092"},
		SASL:    &kafka.SASL{Mechanism: kafka.Plain, User: "billing"},
	}})
	fmt.Println(err)
	// Output:
	// kafka adapter is not configured right: Cluster.TLS is nil, so that everybody on the way could read the password of PLAIN: give Cluster.TLS, or set Cluster.SASL.PlainWithoutTLS
	// kafka adapter is not configured right: Cluster.SASL.Password is empty: give the password, or what the cluster calls API secret
}
