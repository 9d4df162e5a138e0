package kafka

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "c4n4ry-s3cr3t"

// shows tells in which form a text has the canary, "" for none.
func shows(text string) string {
	for form, secret := range map[string]string{
		"plain":   canary,
		"hex":     hex.EncodeToString([]byte(canary)),
		"base64":  base64.StdEncoding.EncodeToString([]byte(canary)),
		"decimal": strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"),
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			return form
		}
	}
	return ""
}

func mustNotShow(t *testing.T, what, text string) {
	t.Helper()
	if form := shows(text); form != "" {
		t.Errorf("%s shows the secret (%s): %s", what, form, text)
	}
}

func TestSecretNeverShows(t *testing.T) {
	type hidden struct{ inner Secret }
	type embeds struct{ Secret }
	secret := NewSecret(canary)
	sasl := SASL{Mechanism: Plain, User: "billing", Password: secret}
	for name, v := range map[string]any{
		"Secret": secret, "*Secret": &secret, "[]Secret": []Secret{secret}, "map": map[string]Secret{"a": secret},
		"unexported": hidden{secret}, "*unexported": &hidden{secret}, "embedded": embeds{secret},
		"SASL": sasl, "*SASL": &sasl, "Token": Token{Value: secret}, "*Token": &Token{Value: secret},
		"Cluster": Cluster{SASL: &sasl}, "PublisherConfig": PublisherConfig{Cluster: Cluster{SASL: &sasl}}, "*SubscriberConfig": &SubscriberConfig{Cluster: Cluster{SASL: &sasl}},
		"bearer": bearer{&sasl}, "scramClient": scramClient{sasl: &sasl}, "any": []any{secret, &sasl},
		"error": fmt.Errorf("with %w and %v", errors.New("cause"), secret),
	} {
		for _, verb := range []string{"v", "+v", "#v", "s", "q", "+q", "#q", "x", "X", "# x", "d", "c", "U", "b", "o", "e", "t", "p", "T", "10.3s"} {
			mustNotShow(t, name+" %"+verb, fmt.Sprintf("%"+verb, v))
		}
		mustNotShow(t, name+" Sprint", fmt.Sprint(v))
		b, err := json.Marshal(v)
		mustNotShow(t, name+" JSON", fmt.Sprint(string(b), err))
		var log bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).Info("connecting", "with", v, slog.Group("in", "a", v))
		}
		mustNotShow(t, name+" slog", log.String())
	}
}

// What is set reads "***", what is not "": one can see in a log whether there was a password.
func TestSecretTellsWhetherItIs(t *testing.T) {
	for want, s := range map[string]Secret{"***": NewSecret(canary), "": NewSecret("")} {
		text, err := s.MarshalText()
		if err != nil || string(text) != want || s.String() != want || fmt.Sprintf("%d", s) != want || s.LogValue().String() != want {
			t.Errorf("got %q %q %d %v, %v, want %q", text, s.String(), s, s.LogValue(), err, want)
		}
	}
	if got := fmt.Sprintf("%+v", struct{ Password Secret }{NewSecret(canary)}); got != "{Password:***}" {
		t.Errorf("got %s", got)
	}
}

func TestSecretReveals(t *testing.T) {
	if got := (Secret{}).Reveal(); got != "" {
		t.Errorf("the zero Secret is %q", got)
	}
	if got := NewSecret(canary).Reveal(); got != canary {
		t.Errorf("got %q", got)
	}
	var conf struct{ Password Secret }
	if err := json.Unmarshal([]byte(`{"Password":"`+canary+`"}`), &conf); err != nil || conf.Password.Reveal() != canary {
		t.Errorf("from JSON: %q, %v", conf.Password.Reveal(), err)
	}
}
