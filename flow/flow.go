package flow

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/tracing"
)

// A Flow is a checked graph of steps. It is immutable and may be run several times, in one process or
// in many; what it remembers is in stores, under its name.
type Flow struct {
	name        string
	scope       string // the name, or what Scope pins
	group       string
	grouped     bool // the group was named
	prefix      string
	steps       []*step
	feeds       map[string][]*inlet // by topic
	direct      map[string]bool
	codecs      *channel.Codecs
	limits      channel.Limits
	maxHops     int
	pool        sync.Pool       // *work
	none        adapters.Record // of works that no claim has handed over
	errs        []error         // while it is made
	log         *slog.Logger
	tracing     tracing.Config
	accounts    sync.Once // are observed
	runs        atomic.Int32
	observed    bool // by Observe
	exactlyOnce bool
	alone       bool // one block as a handler: its topic is what its router says
	history     int  // steps that HeaderHistory lists; 0: it is not kept
	poison      bool // tests: works are spoiled after use instead of reused
	roundTrip   bool // tests: direct hops write bodies and read them
}

const defaultMaxHops = 64

// New makes a flow of its parts and checks it. The error lists every mistake of every step, by name
// and with the fix.
func New(name string, parts ...Part) (*Flow, error) {
	f := &Flow{
		name: name, scope: name, maxHops: defaultMaxHops, feeds: map[string][]*inlet{},
		codecs: &channel.Codecs{Topics: map[string]channel.Codec{}, Types: map[string]channel.Codec{}},
	}
	f.pool.New = func() any { return &work{flow: f, rec: &f.none} }
	json := channel.JSON{}
	f.codecs.Types[json.ContentType()] = json
	d := &draft{flow: f, direct: map[string]bool{}}
	for _, p := range parts {
		if p == nil {
			f.errs = append(f.errs, f.errorf("one of its parts is nil"))
			continue
		}
		p.addTo(d, nil)
	}
	f.direct = d.direct
	if f.group, f.grouped = d.group, d.group != ""; !f.grouped {
		f.group = name
	}
	for _, s := range f.steps {
		s.resolve(d)
	}
	f.connect()
	f.places()
	f.check(d)
	if err := errors.Join(f.errs...); err != nil {
		return nil, err
	}
	f.errs = nil
	return f, nil
}

// Name is the flow's name.
func (f *Flow) Name() string { return f.name }

// ErrFlow is wrapped by every mistake that New and Start report.
var ErrFlow = errors.New("flow")

func (f *Flow) errorf(format string, args ...any) error {
	return fmt.Errorf("%w %s: "+format, append([]any{ErrFlow, f.name}, args...)...)
}

// wrong notes a mistake of a step.
func (f *Flow) wrong(s *step, format string, args ...any) {
	f.errs = append(f.errs, f.errorf("step %s: "+format, append([]any{s.name}, args...)...))
}

// A step is a block in its place.
type step struct {
	flow      *Flow
	name      string
	scope     string // "flow/step"
	group     string
	in        string
	typ       reflect.Type
	shape     channel.Shape
	stage     channel.Stage
	source    channel.Source
	around    []channel.Interceptor
	policy    Policy
	hasPolicy bool
	workers   int // 0: by effect
	inlets    []*inlet
	outlets   []outlet
	counts    counters
	notices   [notices]notice

	said, aggregate, letter, attempt *tracing.Place // of spans: a source's word, an aggregate, a dead letter, an attempt
}

// An inlet is one way into a step.
type inlet struct {
	step       *step
	name       string // "" for the step's own topic
	topic      string // "" for a clock
	typ        reflect.Type
	stage      channel.Stage
	around     []channel.Interceptor
	clock      *channel.Timer
	tombstones bool
	broadcast  bool
	place      *tracing.Place
}

// An outlet is one way out of a step.
type outlet struct {
	channel.Outlet
	pattern bool
	cyclic  bool     // what goes out here can come back to a step of this flow
	next    []*inlet // over a direct hop
	place   *tracing.Place
}

// resolve gives the step what the flow's parts say for all, and its inlets and outlets.
func (s *step) resolve(d *draft) {
	f := d.flow
	s.flow = f
	if s.scope == "" {
		s.scope = f.scope + "/" + s.name
	}
	if !s.hasPolicy {
		s.policy = d.policy
	}
	s.policy.setDefaults()
	if s.group == "" {
		s.group = f.group
	}
	if s.workers == 0 {
		s.workers = d.work
	}
	if s.source == nil {
		s.around = append(append([]channel.Interceptor(nil), d.around...), s.around...)
		s.inlets = append(s.inlets, &inlet{
			step: s, topic: s.in, typ: s.typ, stage: s.stage, around: s.around, tombstones: s.shape.Tombstones,
		})
	}
	shapes := []channel.Shape{s.shape}
	for i, ic := range s.around {
		if ic == nil {
			f.wrong(s, "interceptor %d of Around is nil", i)
			continue
		}
		shapes = append(shapes, shapeOf(d, s, ic))
	}
	for i, sh := range shapes {
		if f.exactlyOnce {
			s.checkTransaction(&sh, i == 0)
		}
		if sh.Err != nil {
			f.wrong(s, "%s: %w", sh.Pattern, sh.Err)
		}
		if sh.Effect > s.shape.Effect {
			s.shape.Effect = sh.Effect
		}
		for _, o := range sh.Outlets {
			s.outlets = append(s.outlets, outlet{Outlet: o, pattern: channel.IsPattern(o.Topic)})
		}
		for i := range sh.Inlets {
			in := &sh.Inlets[i]
			if in.Stage() == nil {
				f.wrong(s, "inlet %q does nothing: make it with channel.In or channel.Clock", in.Name)
			}
			s.inlets = append(s.inlets, &inlet{
				step: s, name: in.Name, topic: in.Topic, typ: in.Type, stage: in.Stage(), clock: in.Clock,
				tombstones: in.Tombstones, broadcast: in.Broadcast,
			})
		}
	}
}

// connect finds who feeds whom.
func (f *Flow) connect() {
	for _, s := range f.steps {
		for _, in := range s.inlets {
			if in.topic != "" {
				f.feeds[in.topic] = append(f.feeds[in.topic], in)
			}
		}
	}
	for _, s := range f.steps {
		for i := range s.outlets {
			if o := &s.outlets[i]; f.direct[o.Topic] {
				o.next = f.feeds[o.Topic]
			}
		}
	}
	for _, s := range f.steps {
		for i := range s.outlets {
			o := &s.outlets[i]
			o.cyclic = o.next == nil && f.leadsTo(o, s, map[*outlet]bool{})
		}
	}
}

// leadsTo reports whether what goes out at o can come to step s.
func (f *Flow) leadsTo(o *outlet, s *step, seen map[*outlet]bool) bool {
	if seen[o] {
		return false
	}
	seen[o] = true
	for topic, ins := range f.feeds {
		if !channel.MatchTopic(o.Topic, topic) {
			continue
		}
		for _, in := range ins {
			if in.step == s {
				return true
			}
			for i := range in.step.outlets {
				if f.leadsTo(&in.step.outlets[i], s, seen) {
					return true
				}
			}
		}
	}
	return false
}

// outletTo finds the outlet that a delivery of that type to that topic goes out at.
func (s *step) outletTo(topic string, typ reflect.Type) *outlet {
	for i := range s.outlets {
		o := &s.outlets[i]
		if o.Type == typ && (o.Topic == topic || o.pattern && channel.MatchTopic(o.Topic, topic)) {
			return o
		}
	}
	return nil
}

// logger is where the flow logs: the one it was given, else the default at the time.
func (f *Flow) logger() *slog.Logger {
	if f.log != nil {
		return f.log
	}
	return slog.Default()
}
