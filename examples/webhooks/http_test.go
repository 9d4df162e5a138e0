package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

func sign(body, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// post makes the request that GitHub makes; headers are name, value, name, value, "" deletes.
func post(path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Github-Event", "public")
	r.Header.Set("X-Github-Delivery", "d-1")
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestWebhookAnswers(t *testing.T) {
	const ok, secret = `{"a":1}`, "s3cret"
	form := url.Values{"payload": {ok}}.Encode()
	chunked := post("/", strings.Repeat(" ", 200))
	chunked.ContentLength = -1
	get := post("/", ok)
	get.Method = http.MethodGet
	for _, c := range []struct {
		name   string
		secret string
		r      *http.Request
		status int
		taken  bool
	}{
		{"root", "", post("/", ok), 202, true},
		{"webhook", "", post("/webhook", ok), 202, true},
		{"no content type", "", post("/", ok, "Content-Type", ""), 202, true},
		{"charset", "", post("/", ok, "Content-Type", "application/json; charset=utf-8"), 202, true},
		{"form", "", post("/", form, "Content-Type", "application/x-www-form-urlencoded"), 202, true},
		{"signed form", secret, post("/", form, "Content-Type", "application/x-www-form-urlencoded", "X-Hub-Signature-256", sign(form, secret)), 202, true},
		{"signed", secret, post("/", ok, "X-Hub-Signature-256", sign(ok, secret)), 202, true},
		{"signature nobody asked for", "", post("/", ok, "X-Hub-Signature-256", "sha256=00"), 202, true},
		{"unsigned", secret, post("/", ok), 401, false},
		{"other secret", secret, post("/", ok, "X-Hub-Signature-256", sign(ok, "other")), 401, false},
		{"other body", secret, post("/", ok+" ", "X-Hub-Signature-256", sign(ok, secret)), 401, false},
		{"cut signature", secret, post("/", ok, "X-Hub-Signature-256", sign(ok, secret)[:30]), 401, false},
		{"no prefix", secret, post("/", ok, "X-Hub-Signature-256", sign(ok, secret)[7:]), 401, false},
		{"no digits", secret, post("/", ok, "X-Hub-Signature-256", "sha256=xyz"), 401, false},
		{"elsewhere", "", post("/admin", ok), 404, false},
		{"GET", "", get, 405, false},
		{"no event", "", post("/", ok, "X-Github-Event", ""), 400, false},
		{"no delivery", "", post("/", ok, "X-Github-Delivery", ""), 400, false},
		{"no JSON", "", post("/", "{"), 400, false},
		{"two values", "", post("/", `{},"x":{}`), 400, false},
		{"empty body", "", post("/", ""), 400, false},
		{"form without payload", "", post("/", "x=1", "Content-Type", "application/x-www-form-urlencoded"), 400, false},
		{"form that is none", "", post("/", "%zz", "Content-Type", "application/x-www-form-urlencoded"), 400, false},
		{"XML", "", post("/", ok, "Content-Type", "text/xml"), 415, false},
		{"no type", "", post("/", ok, "Content-Type", ";"), 415, false},
		{"too large", "", post("/", strings.Repeat(" ", 200)), 413, false},
		{"too large, size unsaid", "", chunked, 413, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var line []byte
			h := &webhook{Secret: c.secret, MaxBody: 100, Take: func(_ context.Context, l []byte) error {
				line = l
				return nil
			}}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, c.r)
			if w.Code != c.status || (line != nil) != c.taken {
				t.Fatalf("status %d, want %d; taken: %q", w.Code, c.status, line)
			}
			if c.taken && string(line) != `{"event":"public","delivery":"d-1","payload":{"a":1}}` {
				t.Fatalf("line %s", line)
			}
			if c.status == 405 && w.Header().Get("Allow") != "POST" {
				t.Fatal("405 without Allow")
			}
			if h.inFlight.Load() != 0 {
				t.Fatal("a place is not given back")
			}
		})
	}
}

// unread fails the test when anybody reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestWebhookRefusesBeforeItReads(t *testing.T) {
	take := func(context.Context, []byte) error { return nil }
	for name, c := range map[string]struct {
		h      *webhook
		length int64
		status int
	}{
		"too large": {&webhook{Take: take}, maxLine + 1, 413},
		"unsigned":  {&webhook{Take: take, Secret: "s"}, 3, 401},
		"full":      {&webhook{Take: take, MaxInFlight: -1}, 3, 503},
	} {
		r := post("/", "")
		r.Body, r.ContentLength = io.NopCloser(unread{t}), c.length
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d", name, w.Code, c.status)
		}
	}
}

func TestWebhookEscapesHeaders(t *testing.T) {
	var line []byte
	h := &webhook{Take: func(_ context.Context, l []byte) error { line = l; return nil }}
	h.ServeHTTP(httptest.NewRecorder(), post("/", "{}", "X-Github-Delivery", `x","payload":{"evil":1},"y":"`))
	e, err := domain.Parse(line)
	if err != nil || string(e.Payload) != "{}" || e.Delivery != `x","payload":{"evil":1},"y":"` {
		t.Fatalf("%+v, error %v", e, err)
	}
}

func TestWebhookAnswersOnlyAfterTake(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan error)
	h := &webhook{MaxInFlight: 1, Take: func(context.Context, []byte) error {
		entered <- struct{}{}
		return <-leave
	}}
	answered := make(chan int, 1)
	send := func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, post("/", "{}"))
		answered <- w.Code
	}
	for _, c := range []struct {
		err    error
		status int
	}{{nil, 202}, {errors.New("no"), 503}} {
		go send()
		<-entered
		w := httptest.NewRecorder()
		h.ServeHTTP(w, post("/", "{}")) // the only place is taken
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Fatalf("full: status %d", w.Code)
		}
		select {
		case code := <-answered:
			t.Fatalf("answered %d before the event was taken", code)
		default:
		}
		leave <- c.err
		if code := <-answered; code != c.status {
			t.Fatalf("status %d, want %d", code, c.status)
		}
	}
}

func TestWebhookTakeHasADeadline(t *testing.T) {
	h := &webhook{Timeout: time.Nanosecond, Take: func(ctx context.Context, _ []byte) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, post("/", "{}"))
	if w.Code != 503 {
		t.Fatalf("status %d", w.Code)
	}
}

// server runs serve on a free port.
func server(t *testing.T, h http.Handler, grace time.Duration) (address string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, h, grace, slog.New(slog.DiscardHandler)) }()
	return "http://" + ln.Addr().String(), func() error { cancel(); return <-done }
}

// deliver posts over a connection of its own and gives the status, 0 for none.
func deliver(t *testing.T, address string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader("{}"))
	if err != nil {
		t.Error(err)
		return 0
	}
	r.Header.Set("X-Github-Event", "public")
	r.Header.Set("X-Github-Delivery", "d")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		return 0
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	return res.StatusCode
}

func TestServeFinishesWhatItHas(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	address, stop := server(t, &webhook{Take: func(context.Context, []byte) error {
		close(entered)
		<-leave
		return nil
	}}, time.Minute)
	answered := make(chan int, 1)
	go func() { answered <- deliver(t, address) }()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request in flight: %v", err)
	default:
	}
	close(leave)
	if code := <-answered; code != 202 {
		t.Fatalf("status %d", code)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if code := deliver(t, address); code != 0 {
		t.Fatalf("status %d after the end", code)
	}
}

func TestServeCutsOffAfterGrace(t *testing.T) {
	entered, cut := make(chan struct{}), make(chan error, 1)
	address, stop := server(t, &webhook{Take: func(ctx context.Context, _ []byte) error {
		close(entered)
		<-ctx.Done()
		cut <- ctx.Err()
		return ctx.Err()
	}}, time.Nanosecond)
	answered := make(chan int, 1)
	go func() { answered <- deliver(t, address) }()
	<-entered
	err := stop()
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "cut off") {
		t.Fatalf("error %v", err)
	}
	if code := <-answered; code == 202 {
		t.Fatal("an event that was not taken was answered with 202")
	}
	if err := <-cut; !errors.Is(err, context.Canceled) {
		t.Fatalf("the flow was not told: %v", err)
	}
}

func TestServeSaysWhyItCannot(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := serve(t.Context(), ln, &webhook{}, time.Second, slog.New(slog.DiscardHandler)); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("error %v", err)
	}
}
