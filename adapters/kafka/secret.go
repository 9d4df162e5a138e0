package kafka

import (
	"fmt"
	"log/slog"
)

// A Secret is a password or a token that does not show. Package fmt, in every verb, slog, JSON and whatever
// else marshals text have "***" of it; what walks through values by reflection finds a function. The zero
// Secret is none, and reads "".
//
// A Secret is safe for concurrent use. Two of them cannot be compared with ==.
type Secret struct {
	// A function, because fmt prints fields that are not exported without asking the type, and printers of
	// tests follow pointers.
	reveal func() string
}

// NewSecret hides text. An empty text is none.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{func() string { return text }}
}

// Reveal gives the text.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// String is "***", or "" if there is no secret.
func (s Secret) String() string {
	if s.reveal == nil {
		return ""
	}
	return "***"
}

// Format prints String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue is String for package slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text as it is, so that settings can be read from a file or the environment.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
