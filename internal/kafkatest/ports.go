package kafkatest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const host = "127.0.0.1"

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// freePorts gives n ports that nobody listens on. They are below those that outgoing connections are given,
// so that nothing takes one while a server that is to come back on it is down.
func freePorts(n int) ([]int, error) {
	const first, last, tries = 15000, 32000, 1000

	var ports []int
	var errs error
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", address(port)) //nolint:noctx // it does not wait
		if err != nil {
			errs = err
			continue
		}
		defer l.Close() //nolint:errcheck // held until all are found, so that all differ
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("finding a free port for Kafka: %w", errors.Join(errs))
}
