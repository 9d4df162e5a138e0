package endpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// A ServiceActivator calls a service with each message; then the message is done. An error of the
// service is the message's: tried again, then the dead letter; channel.Permanent says that trying again
// cannot help, channel.Later that the service is down. It is safe for concurrent use if Act is.
//
// Source: Service Activator, Enterprise Integration Patterns, page 532.
type ServiceActivator[T any] struct {
	Act func(m channel.Message[T]) error // required
}

// Do calls a function that knows nothing of messaging. Its context ends when the message's deadline
// passes or the flow gives the message back.
func Do[T any](act func(ctx context.Context, body T) error) ServiceActivator[T] {
	if act == nil { // For Shape to report.
		return ServiceActivator[T]{}
	}
	return ServiceActivator[T]{Act: func(m channel.Message[T]) error { return act(m.Context(), m.Body) }}
}

// DoMessage calls a function of the message. Its ID, the same at every attempt and redelivery, is what
// to give a service that tells repeated requests apart.
func DoMessage[T any](act func(m channel.Message[T]) error) ServiceActivator[T] {
	return ServiceActivator[T]{Act: act}
}

// Process calls the service.
func (a ServiceActivator[T]) Process(m channel.Message[T]) (channel.Result, error) {
	if err := a.Act(m); err != nil {
		return channel.Result{}, err
	}
	return channel.Done(), nil
}

// Shape has no outlet: the step is an end of the flow.
func (a ServiceActivator[T]) Shape() channel.Shape {
	s := channel.Shape{Pattern: "Service Activator", Effect: channel.Acts}
	if a.Act == nil {
		s.Err = fmt.Errorf("%w: Act is nil: give it the function to call", errDo)
	}
	return s
}

var errDo = errors.New("endpoint.Do")
