package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/leat-go/leat/adapters/kafka"
)

// A wire is how a program reaches a broker: through a proxy with faults. Every address that the cluster
// advertises leads there.
type wire struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	log   diary

	mu    sync.Mutex
	dials []time.Time
}

func newWire(t *testing.T, addr string) *wire {
	t.Helper()
	silent := zerolog.Nop()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), silent)
	w := &wire{t: t, proxy: toxiproxy.NewProxy(server, "kafka", "127.0.0.1:0", addr)}
	if err := w.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.proxy.Stop)
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, l := range w.log.all() {
			t.Logf("%s %s %s", l.at.Format(time.TimeOnly+".000"), l.level, l.text)
		}
	})
	return w
}

// cluster is the broker as it is reached by the wire.
func (w *wire) cluster(addr string, readTimeout time.Duration) kafka.Cluster {
	return kafka.Cluster{Brokers: []string{addr}, Dial: w.dial, DialTimeout: 2 * time.Second, ReadTimeout: readTimeout, Logger: w.log.logger()}
}

func (w *wire) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, time.Now())
	w.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, w.proxy.Listen)
}

// dialled reports whether a connection was made after a time.
func (w *wire) dialled(after time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.dials) > 0 && w.dials[len(w.dials)-1].After(after)
}

// fault has every connection suffer from a toxic, in one direction or both, until what it gives is called.
func (w *wire) fault(kind string, attributes map[string]any, streams ...string) (heal func()) {
	w.t.Helper()
	names := make([]string, len(streams))
	for i, stream := range streams {
		names[i] = kind + "-" + stream
		b, err := json.Marshal(map[string]any{"name": names[i], "type": kind, "stream": stream, "attributes": attributes})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.proxy.Toxics.AddToxicJson(bytes.NewReader(b)); err != nil {
			w.t.Fatal(err)
		}
	}
	return sync.OnceFunc(func() {
		for _, name := range names {
			if err := w.proxy.Toxics.RemoveToxic(context.Background(), name); err != nil {
				w.t.Error(err)
			}
		}
	})
}

// inPairs reports whether the log has as many lines that trouble ended as that it began, and no others but those of
// partitions that were lost, with what was finished in them and could not be committed.
func (w *wire) inPairs() bool {
	began, ended, lost := 0, 0, 0
	ls := w.log.all()
	for _, l := range ls {
		switch {
		case strings.HasPrefix(l.text, "partition lost"), strings.HasPrefix(l.text, "finished messages are not committed"):
			lost++
		case l.level == slog.LevelWarn:
			began++
		case l.level == slog.LevelInfo:
			ended++
		}
	}
	return began == ended && began+ended+lost == len(ls)
}

// calm reports whether the log knows of no trouble that is not over.
func (w *wire) calm() bool {
	ls := w.log.all()
	return len(ls) == 0 || ls[len(ls)-1].level == slog.LevelInfo
}

// twoLines fails the test unless the log has, behind its first lines, one that trouble began and one that it
// ended.
func (w *wire) twoLines(before int) {
	w.t.Helper()
	ls := w.log.all()[before:]
	if len(ls) == 2 && ls[0].level == slog.LevelWarn && ls[1].level == slog.LevelInfo {
		return
	}
	for _, l := range ls {
		w.t.Log(l.level, l.text)
	}
	w.t.Errorf("%d lines in the log, want one as trouble begins and one as it ends", len(ls))
}
