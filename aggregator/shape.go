package aggregator

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/leat-go/leat/channel"
)

// Shape declares the outlets To and LateTo and the clock "timeout".
func (a *Aggregator[In, Out]) Shape() channel.Shape {
	clock := channel.Clock("timeout", a.due, a.fire)
	clock.Clock.AtEnd = a.CompleteOnDrain
	s := channel.Shape{
		Pattern: "Aggregator", Effect: channel.External, Failed: a.failed, Err: a.check(),
		Outlets: []channel.Outlet{channel.Out("", a.To)},
		Inlets:  []channel.Inlet{clock},
	}
	if !isNil(a.Store) {
		s.Open = a.Store.Open
	}
	if a.LateTo != "" {
		s.Outlets = append(s.Outlets, channel.Out("late", a.LateTo))
	}
	return s
}

// check gives everything that is wrong with the configuration.
func (a *Aggregator[In, Out]) check() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("aggregator.Aggregator."+format, args...))
		}
	}
	wrong(a.Correlate == nil, "Correlate is nil: give the function that says which group a message belongs to")
	wrong(a.Combine == nil && a.Fold == nil, "Combine and Fold are nil: give one of them")
	wrong(a.Combine != nil && a.Fold != nil, "Combine and Fold are both set: keep one of them")
	wrong(a.To == "", "To is empty: name the topic that groups go to")
	wrong(isNil(a.Store), "Store is nil: give one, &aggregator.Memory{} for instance")
	wrong(a.CompleteFold != nil && a.Fold == nil, "CompleteFold is set without Fold: use Complete, or Fold instead of Combine")
	wrong(a.Size > 0 && a.SizeOf != nil, "Size and SizeOf are both set: keep one of them")
	wrong(a.Size == 0 && a.SizeOf == nil && a.Complete == nil && a.CompleteFold == nil && a.Timeout == 0 && a.Idle == 0 && !a.CompleteOnDrain,
		"Size: nothing completes a group: set Size, SizeOf, Complete, CompleteFold, Timeout, Idle or CompleteOnDrain")
	wrong(a.MaxMembers > 0 && a.Size > a.MaxMembers, "MaxMembers is %d, less than Size %d: no group would reach its size", a.MaxMembers, a.Size)
	wrong(a.Timeout > 0 && a.Idle >= a.Timeout, "Idle is %v, not less than Timeout %v: it would never end a group; leave it out", a.Idle, a.Timeout)
	wrong(a.DropLate && a.LateTo != "", "DropLate and LateTo are both set: keep one of them")
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Size", int64(a.Size)},
		{"Timeout", int64(a.Timeout)},
		{"Idle", int64(a.Idle)},
		{"MaxOpen", int64(a.MaxOpen)},
		{"MaxMembers", int64(a.MaxMembers)},
		{"MaxBytes", int64(a.MaxBytes)},
		{"Lease", int64(a.Lease)},
		{"Remember", int64(a.Remember)},
	} {
		wrong(f.value < 0, "%s is negative: use 0 for its default", f.name)
	}
	return errors.Join(errs...)
}

// isNil reports a store that is nil, or a nil pointer, which an interface hides.
func isNil(s Store) bool {
	v := reflect.ValueOf(s)
	return s == nil || v.Kind() == reflect.Pointer && v.IsNil()
}
