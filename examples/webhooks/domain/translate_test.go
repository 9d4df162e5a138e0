package domain

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func translated(t *testing.T, event, payload string) Activity {
	t.Helper()
	e, err := Parse(line(event, "d", payload))
	if err != nil {
		t.Fatal(err)
	}
	a, err := Translate(e)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTranslateTitlesAndStates(t *testing.T) {
	for _, c := range []struct{ event, payload, title, state string }{
		{"push", `{"ref":"refs/heads/main"}`, "pushed 0 commits to main", ""},
		{"push", `{"ref":"refs/heads/main","commits":[{}]}`, "pushed 1 commit to main", ""},
		{"push", `{"ref":"refs/heads/a/b","created":true,"commits":[{},{}]}`, "pushed 2 commits to a/b", "created"},
		{"push", `{"ref":"refs/tags/v1","deleted":true}`, "push deleted v1", "deleted"},
		{"push", `{"ref":"x","forced":true}`, "force-pushed 0 commits to x", "forced"},
		{"create", `{"ref":"v1","ref_type":"tag"}`, "created tag v1", ""},
		{"delete", `{"ref":"v1","ref_type":"branch"}`, "deleted branch v1", ""},
		{"gollum", `{"pages":[{"title":"Home"},{}]}`, "wiki edited: Home (2 pages)", ""},
		{"gollum", `{}`, "wiki edited", ""},
		{"page_build", `{"build":{"status":"errored"}}`, "pages errored", "errored"},
		{"repository_import", `{"status":"success"}`, "import: success", "success"},
		{"release", `{"action":"published","release":{"tag_name":"v2"}}`, "release published: v2", ""},
		{"pull_request", `{"action":"closed","pull_request":{"number":4,"title":"Wheel","state":"closed","merged":true}}`, "pull request #4 closed: Wheel", "merged"},
		{"pull_request_review", `{"action":"submitted","review":{"state":"approved"},"pull_request":{"number":4}}`, "pull request review #4 submitted", "approved"},
		{"issues", `{"action":"opened","issue":{"number":1,"title":"Leak\nmore","state":"open"}}`, "issue #1 opened: Leak", "open"},
		{"check_run", `{"action":"completed","check_run":{"name":"lint","status":"completed","conclusion":"failure"}}`, "check run completed: lint (failure)", "failure"},
		{"workflow_job", `{"action":"queued","workflow_job":{"name":"test","status":"queued"}}`, "workflow job queued: test (queued)", "queued"},
		{"status", `{"context":"ci","state":"pending"}`, "status ci: pending", "pending"},
		{"workflow_dispatch", `{"workflow":"a.yml","ref":"refs/heads/m"}`, "workflow dispatched: a.yml", ""},
		{"workflow_dispatch", `{"workflow":{"x":1},"ref":"refs/heads/m"}`, "workflow dispatched: m", ""},
		{"repository_dispatch", `{"action":"nightly"}`, "repository dispatch nightly", ""},
		{"security_advisory", `{"action":"published","security_advisory":{"summary":"Water"}}`, "security advisory published: Water", ""},
		{"fork", `{"forkee":{"full_name":"a/b"}}`, "forked to a/b", ""},
		{"public", `{}`, "made public", ""},
		{"star", `{"action":"created"}`, "star created", ""},
		{"marketplace_purchase", `{"action":"purchased","marketplace_purchase":{"account":{"login":"ann"}}}`, "marketplace purchase purchased: ann", ""},
		{"team_add", `{"team":{"name":"millers"}}`, "team add: millers", ""},
		{"deployment_status", `{"action":"created","deployment_status":{"state":"success","environment":"prod"}}`, "deployment status created: prod (success)", "success"},
		{"exemption_request_push_ruleset", `{"action":"created"}`, "exemption request push ruleset created", ""},
	} {
		a := translated(t, c.event, c.payload)
		if a.Title != c.title || a.State != c.state {
			t.Errorf("%s %s:\n got %q, %q\nwant %q, %q", c.event, c.payload, a.Title, a.State, c.title, c.state)
		}
		if f, _ := FamilyOf(c.event); a.Family != f || !a.IsEvent || a.Part != 1 || a.Parts != 1 || a.Delivery != "d" || a.Event != c.event {
			t.Errorf("%s: %+v", c.event, a)
		}
	}
}

func TestTranslateGroups(t *testing.T) {
	for _, c := range []struct{ payload, group string }{
		{`{"repository":{"full_name":"mill/gate"},"organization":{"login":"mill"},"sender":{"login":"ann"}}`, "mill/gate"},
		{`{"organization":{"login":"mill"},"enterprise":{"slug":"river"},"sender":{"login":"ann"}}`, "org:mill"},
		{`{"enterprise":{"slug":"river"},"sender":{"login":"ann"}}`, "enterprise:river"},
		{`{"repository":null,"sender":{"login":"ann"}}`, "user:ann"},
		{`{}`, "github"},
	} {
		if a := translated(t, "watch", c.payload); a.Group != c.group {
			t.Errorf("%s: group %q, want %q", c.payload, a.Group, c.group)
		}
	}
}

func TestTranslateTimes(t *testing.T) {
	for _, c := range []struct{ event, payload, at string }{
		{"issues", `{"issue":{"created_at":"2024-05-01T10:00:00Z","updated_at":"2024-05-02T12:00:00+02:00"}}`, "2024-05-02T10:00:00Z"},
		{"issue_comment", `{"issue":{"updated_at":"2024-05-01T10:00:00Z"},"comment":{"created_at":"2024-05-03T00:00:00Z"}}`, "2024-05-03T00:00:00Z"},
		{"installation", `{"installation":{"created_at":1557933591}}`, "2019-05-15T15:19:51Z"},
		{"push", `{"ref":"x","head_commit":{"timestamp":"2024-05-02T12:00:00+02:00"}}`, "2024-05-02T10:00:00Z"},
		{"star", `{"starred_at":null}`, ""},
		{"star", `{"starred_at":"yesterday"}`, ""},
		{"star", `{"starred_at":1e30}`, ""},
		{"star", `{"starred_at":{"a":[]}}`, ""},
		{"star", `{"starred_at":"9999-12-31T23:59:59-01:00"}`, ""},
		{"star", `{"starred_at":"0001-01-01T00:00:00+01:00"}`, ""},
	} {
		got := ""
		if a := translated(t, c.event, c.payload); !a.At.IsZero() {
			got = a.At.Format(time.RFC3339)
		}
		if got != c.at {
			t.Errorf("%s: at %q, want %q", c.payload, got, c.at)
		}
	}
}

func TestTranslatePushCommits(t *testing.T) {
	a := translated(t, "push", `{"ref":"refs/heads/main","compare":"https://x/c","commits":[
		{"id":"abc","message":"Fix\n\nlong","url":"https://x/1","timestamp":"2024-05-02T10:00:00Z","author":{"name":"Ann","username":"ann"},"added":["a"],"modified":["b"],"removed":["c"]},
		{"id":"def","author":{"name":"Bob"}}]}`)
	if len(a.Commits) != 2 || a.URL != "https://x/c" || a.Ref != "main" {
		t.Fatalf("got %+v", a)
	}
	c := a.Commits[0]
	if c.SHA != "abc" || c.Message != "Fix" || c.Author != "ann" || strings.Join(c.Files, "") != "abc" || c.At.IsZero() {
		t.Fatalf("got %+v", c)
	}
	if a.Commits[1].Author != "Bob" {
		t.Fatalf("got %+v", a.Commits[1])
	}
}

func TestTranslatorsRefuseOtherFamilies(t *testing.T) {
	e, err := Parse(line("star", "d", "{}"))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(Event) (Activity, error){
		"FromCode": FromCode, "FromReview": FromReview, "FromIssues": FromIssues,
		"FromAutomation": FromAutomation, "FromSecurity": FromSecurity, "FromAdmin": FromAdmin,
	} {
		if _, err := f(e); !errors.Is(err, ErrFamily) || errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := FromCommunity(e); err != nil {
		t.Error(err)
	}
}

func TestClipKeepsCharactersWhole(t *testing.T) {
	for _, c := range []struct {
		in, want string
		limit    int
	}{
		{"abc", "abc", 3}, {"abcdef", "ab...", 5}, {"ääää", "ä...", 6}, {" a\nb", "a", 9}, {"\xff\xff\xff\xff\xff", "\xff...", 4},
	} {
		if got := clip(c.in, c.limit); got != c.want || len(got) > c.limit {
			t.Errorf("clip(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}
