package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

func TestParseFlags(t *testing.T) {
	base := config{Repeat: 1, DigestSize: 50, DigestTimeout: 30 * time.Second}
	with := func(f func(*config)) config {
		c := base
		f(&c)
		return c
	}
	for _, c := range []struct {
		args, env string
		want      config
	}{
		{"", "", base},
		{"-input a.jsonl -repeat 3", "", with(func(c *config) { c.Input, c.Repeat = "a.jsonl", 3 })},
		{"-input -", "", with(func(c *config) { c.Input = "-" })},
		{"-repeat 9", "", with(func(c *config) { c.Repeat = 9 })},
		{"-listen :8080", "", with(func(c *config) { c.Listen = "127.0.0.1:8080" })},
		{"-listen 0.0.0.0:8080", "", with(func(c *config) { c.Listen = "0.0.0.0:8080" })},
		{"-listen [::1]:0 -secret s", "env", with(func(c *config) { c.Listen, c.Secret = "[::1]:0", "s" })},
		{"-listen :1", "env", with(func(c *config) { c.Listen, c.Secret = "127.0.0.1:1", "env" })},
		{"-broker kafka:", "", with(func(c *config) { c.Broker = "kafka:" })},
		{"-broker kafka://host:9092/run7. -listen :1", "", with(func(c *config) { c.Broker, c.Listen = "kafka://host:9092/run7.", "127.0.0.1:1" })},
		{"-graph -digest-size 7 -digest-timeout 1m", "", with(func(c *config) { c.Graph, c.DigestSize, c.DigestTimeout = true, 7, time.Minute })},
	} {
		got, err := parseFlags(strings.Fields(c.args), func(string) string { return c.env }, io.Discard)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
		}
		if c.env != "" && c.want.Listen == "" {
			c.want.Secret = c.env
		}
		if got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.args, got, c.want)
		}
	}
}

func TestParseFlagsRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"-nonsense"}, []string{"-nonsense", "-help"}},
		{[]string{"-repeat", "x"}, []string{"repeat"}},
		{[]string{"file.jsonl"}, []string{`"file.jsonl"`, "-input"}},
		{[]string{"-input", ""}, []string{"names no file"}},
		{[]string{"-broker", ""}, []string{"names none"}},
		{[]string{"-broker", "redis://host:1"}, []string{"-broker redis://host:1", "kafka://host:port"}},
		{[]string{"-listen", ""}, []string{"names no address"}},
		{[]string{"-listen", "8080"}, []string{"-listen 8080", "host:port"}},
		{[]string{"-input", "a", "-listen", ":1"}, []string{"exclude each other"}},
		{[]string{"-input", "-", "-repeat", "2"}, []string{"stdin can be read only once"}},
		{[]string{"-listen", ":1", "-repeat", "1"}, []string{"-repeat is for an input"}},
		{[]string{"-secret", "s"}, []string{"-secret is for -listen"}},
		{[]string{"-listen", ":1", "-secret", ""}, []string{"-secret is empty"}},
		{[]string{"-repeat", "0", "-digest-size", "0", "-digest-timeout", "-1s"}, []string{"-repeat is 0", "-digest-size is 0", "-digest-timeout is -1s"}},
	} {
		_, err := parseFlags(c.args, func(string) string { return "" }, io.Discard)
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", c.args, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %q does not say %q", c.args, err, w)
			}
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	if _, err := parseFlags([]string{"-help"}, func(string) string { return "" }, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, f := range []string{"-input", "-listen", "-secret", "-repeat", "-graph", "-digest-size", "-digest-timeout", "WEBHOOKS_SECRET"} {
		if !strings.Contains(out.String(), f) {
			t.Errorf("help lacks %s", f)
		}
	}
}
