package router

import (
	"errors"
	"fmt"
	"strings"

	"github.com/leat-go/leat/channel"
)

// A ContentBasedRouter forwards each message to the topic of the first branch that matches it. A
// message that none matches is channel.ErrNoRoute, permanent: it goes to the dead letter, unless the
// last branch is Otherwise. It is safe for concurrent use if the predicates are.
//
// The body is decoded before the router sees it. To route on headers and decode nothing, take the
// messages as bytes: channel.Topic[[]byte] for the step's topic and the branches', and only WhenHeader.
// A router of WhenHeader and Otherwise alone takes tombstones too.
//
// Source: Content-Based Router, Enterprise Integration Patterns, page 230.
type ContentBasedRouter[T any] struct {
	Branches []Branch[T] // asked in this order; at least one
}

// Content makes a content-based router of its branches.
func Content[T any](branches ...Branch[T]) ContentBasedRouter[T] {
	return ContentBasedRouter[T]{Branches: branches}
}

// A Branch is one way out of a content-based router: made by When, WhenHeader, WhenMessage or
// Otherwise.
type Branch[T any] struct {
	Name  string                          // what the drawing calls it; unique in its router
	Match func(m channel.Message[T]) bool // required, except in Otherwise
	To    channel.Topic[T]                // required

	kind   kind
	header string
}

type kind uint8

const (
	onMessage kind = iota // may read anything
	onHeader
	otherwise
)

// When is a branch for messages whose body matches.
func When[T any](name string, match func(body T) bool, to channel.Topic[T]) Branch[T] {
	b := Branch[T]{Name: name, To: to}
	if match != nil { // A nil one is for Shape to report.
		b.Match = func(m channel.Message[T]) bool { return match(m.Body) }
	}
	return b
}

// WhenHeader is a branch for messages of which one header's value matches; it is "" if there is none.
// It reads no body.
func WhenHeader[T any](name, header string, match func(value string) bool, to channel.Topic[T]) Branch[T] {
	b := Branch[T]{Name: name, To: to, kind: onHeader, header: header}
	if match != nil {
		b.Match = func(m channel.Message[T]) bool { return match(m.Get(header)) }
	}
	return b
}

// WhenMessage is a branch for messages that match by anything they have: body, headers, key, attempt.
func WhenMessage[T any](name string, match func(m channel.Message[T]) bool, to channel.Topic[T]) Branch[T] {
	return Branch[T]{Name: name, Match: match, To: to}
}

// Otherwise is the last branch: for every message that no other matches. Its name is "otherwise".
func Otherwise[T any](to channel.Topic[T]) Branch[T] {
	return Branch[T]{Name: "otherwise", To: to, kind: otherwise}
}

// Process forwards m to the first branch that matches.
func (c ContentBasedRouter[T]) Process(m channel.Message[T]) (channel.Result, error) {
	for i := range c.Branches {
		if b := &c.Branches[i]; b.kind == otherwise || b.Match(m) {
			return channel.Send(channel.Forward(b.To, m)), nil
		}
	}
	return channel.Result{}, fmt.Errorf("none of the branches %s: %w", c.names(), channel.ErrNoRoute)
}

func (c ContentBasedRouter[T]) names() string {
	names := make([]string, len(c.Branches))
	for i := range c.Branches {
		names[i] = c.Branches[i].Name
	}
	return strings.Join(names, ", ")
}

// Shape has an outlet for each branch, by its name.
func (c ContentBasedRouter[T]) Shape() channel.Shape {
	s := channel.Shape{Pattern: "Content-Based Router", Tombstones: len(c.Branches) > 0, Err: c.check()}
	for i := range c.Branches {
		b := &c.Branches[i]
		s.Outlets = append(s.Outlets, channel.Out(b.Name, b.To))
		s.Tombstones = s.Tombstones && b.kind != onMessage
	}
	return s
}

var errContent = errors.New("router.Content")

func (c ContentBasedRouter[T]) check() error {
	if len(c.Branches) == 0 {
		return fmt.Errorf("%w: no branches: add a When or an Otherwise", errContent)
	}
	var errs []error
	report := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{errContent}, args...)...))
	}
	seen := make(map[string]int, len(c.Branches))
	for i := range c.Branches {
		b := &c.Branches[i]
		what := fmt.Sprintf("branch %d (%q)", i+1, b.Name)
		first, again := seen[b.Name]
		switch {
		case b.Name == "":
			report("%s has no name: give it one for the drawing", what)
		case again:
			report("%s has the name of branch %d: rename one", what, first)
		default:
			seen[b.Name] = i + 1
		}
		switch {
		case b.kind == otherwise && i < len(c.Branches)-1:
			report("%s is Otherwise with branches after it, which nothing would reach: make it the last", what)
		case b.kind != otherwise && b.Match == nil:
			report("%s has no predicate: give it one, or make it Otherwise", what)
		}
		if b.kind == onHeader && b.header == "" {
			report("%s names no header: name the one it reads", what)
		}
		errs = append(errs, topicErr(errContent, what, string(b.To)))
	}
	return errors.Join(errs...)
}
