package domain

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// An Activity is what happened, in one form for all event types: the Canonical Data Model.
type Activity struct {
	Delivery string `json:"delivery"`
	Event    string `json:"event"`
	Action   string `json:"action,omitempty"`
	Family   Family `json:"family"`
	// Group is what digests are kept by: the repository's full name, else "org:<login>", else
	// "enterprise:<slug>", else "user:<login>", else "github".
	Group string    `json:"group"`
	Actor string    `json:"actor,omitempty"` // login
	Title string    `json:"title"`           // one line, at most 200 bytes
	URL   string    `json:"url,omitempty"`
	State string    `json:"state,omitempty"` // "open", "merged", "failure", ...
	Ref   string    `json:"ref,omitempty"`   // branch or tag, without refs/heads/
	At    time.Time `json:"at,omitzero"`     // UTC, as far as the payload says when

	Commits []Commit `json:"commits,omitempty"`
	// IsEvent says that this part stands for the event itself: events are counted by it, so that one
	// whose commits are in two digests counts once.
	IsEvent bool `json:"is_event"`
	Part    int  `json:"part"`  // from 1
	Parts   int  `json:"parts"` // of how many; see Split

	// Enrich sets the rest.
	Weight    int      `json:"weight,omitempty"` // 1 (noise) to 5 (look at it)
	Labels    []string `json:"labels,omitempty"` // sorted
	Languages []string `json:"languages,omitempty"`
}

// A Commit is one commit of a push.
type Commit struct {
	SHA     string    `json:"sha"`
	Short   string    `json:"short,omitempty"` // set by Enrich
	Message string    `json:"message"`         // first line
	Author  string    `json:"author,omitempty"`
	URL     string    `json:"url,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Files   []string  `json:"files,omitempty"` // added, modified, removed
}

const (
	maxTitle = 200
	maxName  = 100
	maxURL   = 500
)

// Translate makes the event's Activity with the translator of its family: the Normalizer in one
// function, for where no router chooses. Its error is an Invalid.
func Translate(e Event) (Activity, error) {
	switch e.Family() {
	case Code:
		return FromCode(e)
	case Review:
		return FromReview(e)
	case Issues:
		return FromIssues(e)
	case Automation:
		return FromAutomation(e)
	case Security:
		return FromSecurity(e)
	case Community:
		return FromCommunity(e)
	case Admin:
		return FromAdmin(e)
	}
	return Activity{}, invalid(UnknownEvent, "%.60q", e.Event)
}

// translate fills what all families have in common.
func translate(e Event, f Family) (Activity, *payload, error) {
	p, err := e.read()
	if err != nil {
		return Activity{}, nil, err
	}
	if got := e.Family(); got != f {
		return Activity{}, nil, fmt.Errorf("translating %s %s as %s: %w (%s)", e.Event, e.Delivery, f, ErrFamily, got)
	}
	group, err := p.group()
	if err != nil {
		return Activity{}, nil, err
	}
	s, _ := p.subject(e.Event)
	a := Activity{
		Delivery: e.Delivery, Event: e.Event, Action: clip(p.Action, maxName), Family: f,
		Group: group, Actor: clip(p.Sender.name(), maxName),
		Ref: ref(p.Ref), At: s.at(), IsEvent: true, Part: 1, Parts: 1,
	}
	if s != nil {
		a.State, a.URL = s.State, s.HTMLURL
	}
	if a.URL == "" && p.Repository != nil {
		a.URL = p.Repository.HTMLURL
	}
	if p.Repository != nil && p.Repository.Language != "" {
		a.Languages = []string{clip(p.Repository.Language, maxName)}
	}
	a.Title = sentence(e.Event, s, p.Action)
	return a, p, nil
}

// finish bounds the texts that a translator has set.
func (a Activity) finish() Activity {
	a.Title, a.URL = clip(a.Title, maxTitle), clip(a.URL, maxURL)
	a.State, a.Ref = clip(a.State, maxName), clip(a.Ref, maxTitle)
	return a
}

// sentence is "issue #3 opened: The gate sticks", with what there is of it.
func sentence(event string, s *subject, action string) string {
	var b strings.Builder
	noun := strings.ReplaceAll(event, "_", " ")
	if event == "issues" { // the one event named for many
		noun = "issue"
	}
	b.WriteString(noun)
	if s != nil && s.Number != 0 {
		b.WriteString(" #" + strconv.FormatInt(s.Number, 10))
	}
	if action != "" {
		b.WriteString(" " + clip(strings.ReplaceAll(action, "_", " "), maxName))
	}
	if name := s.name(); name != "" {
		b.WriteString(": " + name)
	}
	return b.String()
}

// ref shortens refs/heads/main to main.
func ref(r string) string {
	r = strings.TrimPrefix(r, "refs/heads/")
	return strings.TrimPrefix(r, "refs/tags/")
}
