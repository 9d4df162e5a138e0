package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

// A webhook is the HTTP side of the flow: GitHub's webhook request on / or /webhook. It answers 202
// only after the flow has taken the event, so what GitHub believes delivered is never lost. Everything
// else GitHub shows as failed and can deliver again: 400 a header is missing or the body is no JSON,
// 401 the signature is wrong or missing, 405 not a POST, 413 the body is too large, 415 neither JSON
// nor a form, 503 the flow is full or cannot take it now.
type webhook struct {
	Take        take
	Secret      string        // "": signatures are not looked at
	MaxBody     int64         // bytes; 0: 1 MiB
	MaxInFlight int64         // requests whose body is read or taken at a time; 0: 64
	Timeout     time.Duration // for the flow to take one; 0: 9 s, as GitHub hangs up after 10
	inFlight    atomic.Int64
}

// A refusal is an answer that is not 202.
type refusal struct {
	status int
	why    string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// ServeHTTP answers one request.
func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	no := h.serve(w, r)
	if no == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	switch no.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, no.why, no.status)
}

// serve refuses what it can before it reads the body.
func (h *webhook) serve(w http.ResponseWriter, r *http.Request) *refusal {
	event, delivery := r.Header.Get("X-Github-Event"), r.Header.Get("X-Github-Delivery")
	signature := r.Header.Get("X-Hub-Signature-256")
	limit := h.MaxBody
	if limit == 0 {
		limit = maxLine
	}
	switch {
	case r.URL.Path != "/" && r.URL.Path != "/webhook":
		return refuse(http.StatusNotFound, "post webhooks to / or /webhook")
	case r.Method != http.MethodPost:
		return refuse(http.StatusMethodNotAllowed, "post webhooks")
	case h.Secret != "" && signature == "":
		return refuse(http.StatusUnauthorized, "X-Hub-Signature-256 is missing: set the hook's secret")
	case event == "" || delivery == "":
		return refuse(http.StatusBadRequest, "X-GitHub-Event or X-GitHub-Delivery is missing")
	case r.ContentLength > limit:
		return refuse(http.StatusRequestEntityTooLarge, "body has %d bytes, at most %d are taken", r.ContentLength, limit)
	}
	if !h.enter() {
		return refuse(http.StatusServiceUnavailable, "busy: deliver it again")
	}
	defer h.inFlight.Add(-1)

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return refuse(http.StatusRequestEntityTooLarge, "body has more than %d bytes", limit)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "body cannot be read")
	}
	if h.Secret != "" && !signed(body, signature, h.Secret) {
		return refuse(http.StatusUnauthorized, "X-Hub-Signature-256 is wrong")
	}
	payload, no := payloadOf(r.Header.Get("Content-Type"), body)
	if no != nil {
		return no
	}
	line, err := asLine(event, delivery, payload)
	if err != nil {
		return refuse(http.StatusBadRequest, "body is not JSON")
	}
	return h.hand(r.Context(), line)
}

func (h *webhook) hand(ctx context.Context, line []byte) *refusal {
	timeout := h.Timeout
	if timeout == 0 {
		timeout = 9 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := h.Take(ctx, line); err != nil {
		return refuse(http.StatusServiceUnavailable, "not taken: deliver it again")
	}
	return nil
}

// enter takes one of the places, false if there is none.
func (h *webhook) enter() bool {
	places := h.MaxInFlight
	if places == 0 {
		places = 64
	}
	if h.inFlight.Add(1) > places {
		h.inFlight.Add(-1)
		return false
	}
	return true
}

// signed compares in constant time.
func signed(body []byte, signature, secret string) bool {
	digits, ok := strings.CutPrefix(signature, "sha256=")
	if !ok {
		return false
	}
	got, err := hex.DecodeString(digits)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}

// payloadOf gives what should be JSON in a body of either content type that a GitHub hook can be set to.
func payloadOf(contentType string, body []byte) ([]byte, *refusal) {
	kind := "application/json"
	if contentType != "" {
		var err error
		if kind, _, err = mime.ParseMediaType(contentType); err != nil {
			return nil, refuse(http.StatusUnsupportedMediaType, "content type cannot be read")
		}
	}
	switch kind {
	case "application/json":
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "form cannot be read")
		}
		body = []byte(form.Get("payload"))
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "send application/json")
	}
	return body, nil
}

// asLine writes the request as the line that Parse reads. Its error says that payload is not JSON.
func asLine(event, delivery string, payload []byte) ([]byte, error) {
	var line bytes.Buffer
	line.Grow(len(event) + len(delivery) + len(payload) + 64)
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(domain.Event{Event: event, Delivery: delivery, Payload: payload}); err != nil {
		return nil, fmt.Errorf("writing %s %s as a line: %w", event, delivery, err)
	}
	return bytes.TrimSuffix(line.Bytes(), []byte{'\n'}), nil
}

// serve answers requests on ln until ctx ends, then takes no new ones and waits up to grace for those
// it has. It closes ln. Its error says that requests were cut off, or that serving was not possible.
func serve(ctx context.Context, ln net.Listener, h http.Handler, grace time.Duration, errs *slog.Logger) error {
	s := &http.Server{
		Handler: h, ErrorLog: slog.NewLogLogger(errs.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := s.Shutdown(ending)
	if err != nil {
		err = errors.Join(fmt.Errorf("stopping %s: requests not finished after %s were cut off: %w", ln.Addr(), grace, err), s.Close())
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
