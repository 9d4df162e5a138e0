package faults_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// A witness hears everything that a flow says of itself: spans, metrics, log lines, errors, and what is
// printed of the values that users log. It looks at each text at once. It is safe for concurrent use.
type witness struct {
	w      *world
	traces leattest.Traces
	kind   string                   // of what is wrong
	wrong  func(text string) string // says what is, "" if nothing
	tell   tracing.Config           // how it is traced, beside where to
}

// look notes what is wrong with a text.
func (x *witness) look(where, text string) {
	if wrong := x.wrong(text); wrong != "" {
		x.w.ledger.wrong(x.kind, "%s: %s: %.300q", where, wrong, text)
	}
}

// note looks at what is printed, and logged, of a value; of the first few values of each kind.
func (x *witness) note(where string, v any) {
	const few = 30
	if x.w.dice.throws("note", where) > few {
		return
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		x.look(where+" as "+verb, fmt.Sprintf(verb, v))
	}
	x.logger().Info(where, "value", v)
}

// Write takes a log line.
func (x *witness) Write(line []byte) (int, error) {
	x.look("log", strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// logger logs everything to the witness, as JSON and as text.
func (x *witness) logger() *slog.Logger {
	const all = slog.LevelDebug - 10
	opts := &slog.HandlerOptions{Level: all}
	return slog.New(slog.NewMultiHandler(slog.NewJSONHandler(x, opts), slog.NewTextHandler(x, opts)))
}

// run is process.run with everything told to the witness. Twice has what comes by claims carry each of
// its contexts twice.
func (x *witness) run(p *process, name string, twice bool, parts ...flow.Part) {
	w := p.w
	w.t.Helper()
	c := x.traces.Config()
	x.tell.TracerProvider, x.tell.MeterProvider = c.TracerProvider, c.MeterProvider
	f, err := flow.New(name, append(parts, flow.Logger(x.logger()), flow.Tracing(x.tell))...)
	if err != nil {
		w.t.Fatal(err)
	}
	p.flow, p.group = f, name
	end := w.broker.Subscriber(name)
	switch w.driver {
	case claims:
		p.handle, err = f.Start(context.Background(), notedPublisher{p.pub, x}, noted{subscriber{end, p}, x, twice})
	case plain:
		p.handle, err = f.Start(context.Background(), struct{ message.Publisher }{p.pub}, struct{ message.Subscriber }{end})
	case routers:
		x.route(p, end)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (x *witness) route(p *process, sub message.Subscriber) {
	t := x.w.t
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Minute}, watermill.NewSlogLogger(x.logger()))
	if err != nil {
		t.Fatal(err)
	}
	if p.handle, err = p.flow.AddTo(r, p.pub, sub); err != nil {
		t.Fatal(err)
	}
	p.router, p.over = r, make(chan struct{})
	go func() {
		defer close(p.over)
		if err := r.Run(context.Background()); err != nil {
			t.Errorf("running the router: %v", err)
		}
	}()
	<-r.Running()
}

// close stops the processes, and looks at their traces and measurements.
func (x *witness) close() {
	for _, p := range x.w.procs {
		p.stop()
		x.note("handle", p.handle)
		x.note("counts", p.flow.Counts())
		x.note("flow", p.flow)
		if !p.gone() {
			x.traces.Check(x.w.t, p.flow)
		}
	}
	x.note("config", x.tell)
	for _, s := range x.traces.Spans() {
		x.span(&s)
	}
	for name, sets := range series(x.traces.Metrics(x.w.t)) {
		x.look("metric", name)
		for _, set := range sets {
			x.attributes("metric "+name, set.ToSlice())
		}
	}
}

func (x *witness) span(s *leattest.Span) {
	x.look("span name", s.Name)
	x.look("span status", s.Status.Description)
	x.attributes("span "+s.Name, s.Attributes)
	for _, e := range s.Events {
		x.look("event name", e.Name)
		x.attributes("event "+e.Name, e.Attributes)
	}
	for _, l := range s.Links {
		x.attributes("link", l.Attributes)
	}
}

func (x *witness) attributes(where string, kvs []attribute.KeyValue) {
	for _, kv := range kvs {
		x.look(where, string(kv.Key))
		x.look(where+" "+string(kv.Key), kv.Value.String())
	}
}

// letter looks at what a dead letter has been given.
func (x *witness) letter(m *message.Message) {
	for name, value := range m.Metadata {
		if strings.HasPrefix(name, "leat-dead-") && name != flow.DeadStack { // a stack has lines
			x.look(name, value)
		}
	}
	if stack := m.Metadata[flow.DeadStack]; stack != "" {
		x.look(flow.DeadStack, strings.Join(strings.Fields(stack), " "))
	}
}

// series gives the attribute sets of each instrument.
func series(rm metricdata.ResourceMetrics) map[string][]attribute.Set {
	all := map[string][]attribute.Set{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], p.Attributes)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], p.Attributes)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					all[m.Name] = append(all[m.Name], p.Attributes)
				}
			default:
				all[fmt.Sprintf("%s is a %T", m.Name, d)] = nil
			}
		}
	}
	return all
}

// A secret is a text that must not be told, in whatever notation.
type secret struct {
	text  string
	forms []string
}

func newSecret(w *world) secret {
	b := make([]byte, 12)
	for i := range b {
		b[i] = 'a' + byte(w.rnd.IntN(26))
	}
	text := "secret" + string(b)
	return secret{text, []string{
		string(b), hex.EncodeToString(b), strings.Trim(fmt.Sprintf("%d", b), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
		digits(string(b)), strings.ToUpper(hex.EncodeToString(b)), base64.StdEncoding.EncodeToString(b), // of which each starts a group of three
	}}
}

// digits gives a text as a number.
func digits(text string) string {
	return strings.Map(func(r rune) rune { return '1' + r%9 }, text)
}

// in says in which notation a text tells the secret, "" if it does not.
func (s secret) in(text string) string {
	for _, form := range s.forms {
		if strings.Contains(text, form) {
			return "the secret, as " + form
		}
	}
	return ""
}

func TestSecretsAreFound(t *testing.T) {
	s := newSecret(newWorldless())
	for what, text := range map[string]string{
		"text": "x" + s.text + "x", "bytes": fmt.Sprintf("%d", []byte("{"+s.text+"}")), "hex": fmt.Sprintf("%x", s.text),
		"Go's bytes": fmt.Sprintf("%#v", []byte(s.text)), "Go's text": fmt.Sprintf("%#v", s.text), "in quotes": fmt.Sprintf("%q", s.text),
		"upper hex": fmt.Sprintf("%X", s.text), "base64": base64.StdEncoding.EncodeToString([]byte(s.text)),
	} {
		if s.in(text) == "" {
			t.Errorf("a secret is not found as %s: %s", what, text)
		}
	}
	if found := s.in("nothing of it"); found != "" {
		t.Error(found)
	}
}
