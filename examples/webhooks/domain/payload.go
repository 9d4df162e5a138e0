package domain

import (
	"cmp"
	"encoding/json"
	"time"
)

// A payload is what the translators read of any event's payload. It is one type for all events because
// GitHub gives one name one meaning; the exception is workflow, which is left raw.
type payload struct {
	event string // whose it is

	Action       string      `json:"action"`
	Repository   *repository `json:"repository"`
	Organization *account    `json:"organization"`
	Enterprise   *account    `json:"enterprise"`
	Sender       *account    `json:"sender"`

	// push, create, delete, gollum, status, star, dispatches
	Ref        string          `json:"ref"`
	RefType    string          `json:"ref_type"`
	Compare    string          `json:"compare"`
	Created    bool            `json:"created"`
	Deleted    bool            `json:"deleted"`
	Forced     bool            `json:"forced"`
	Commits    []commit        `json:"commits"`
	HeadCommit *commit         `json:"head_commit"`
	Pages      []page          `json:"pages"`
	State      string          `json:"state"`
	Status     string          `json:"status"`
	Context    string          `json:"context"`
	TargetURL  string          `json:"target_url"`
	Workflow   json.RawMessage `json:"workflow"`
	Branch     string          `json:"branch"`
	StarredAt  stamp           `json:"starred_at"`
	CreatedAt  stamp           `json:"created_at"`
	UpdatedAt  stamp           `json:"updated_at"`

	Account          *subject `json:"account"`
	Alert            *subject `json:"alert"`
	BlockedIssue     *subject `json:"blocked_issue"`
	BlockedUser      *subject `json:"blocked_user"`
	Build            *subject `json:"build"`
	CheckRun         *subject `json:"check_run"`
	CheckSuite       *subject `json:"check_suite"`
	Comment          *subject `json:"comment"`
	Definition       *subject `json:"definition"`
	Deployment       *subject `json:"deployment"`
	DeploymentStatus *subject `json:"deployment_status"`
	Discussion       *subject `json:"discussion"`
	Forkee           *subject `json:"forkee"`
	Hook             *subject `json:"hook"`
	Installation     *subject `json:"installation"`
	Issue            *subject `json:"issue"`
	Key              *subject `json:"key"`
	Label            *subject `json:"label"`
	Member           *subject `json:"member"`
	MergeGroup       *subject `json:"merge_group"`
	Milestone        *subject `json:"milestone"`
	Package          *subject `json:"package"`
	ParentIssue      *subject `json:"parent_issue"`
	Project          *subject `json:"project"`
	ProjectCard      *subject `json:"project_card"`
	ProjectColumn    *subject `json:"project_column"`
	ProjectV2        *subject `json:"projects_v2"`
	ProjectV2Item    *subject `json:"projects_v2_item"`
	ProjectV2Status  *subject `json:"projects_v2_status_update"`
	PullRequest      *subject `json:"pull_request"`
	Purchase         *subject `json:"marketplace_purchase"`
	RegistryPackage  *subject `json:"registry_package"`
	Release          *subject `json:"release"`
	RepoAdvisory     *subject `json:"repository_advisory"`
	Review           *subject `json:"review"`
	Rule             *subject `json:"rule"`
	Ruleset          *subject `json:"repository_ruleset"`
	Advisory         *subject `json:"security_advisory"`
	Sponsorship      *subject `json:"sponsorship"`
	Team             *subject `json:"team"`
	Thread           *subject `json:"thread"`
	TokenRequest     *subject `json:"personal_access_token_request"`
	WorkflowJob      *subject `json:"workflow_job"`
	WorkflowRun      *subject `json:"workflow_run"`
}

type repository struct {
	FullName string `json:"full_name"`
	HTMLURL  string `json:"html_url"`
	Language string `json:"language"`
}

type account struct {
	Login string `json:"login"`
	Slug  string `json:"slug"` // of an enterprise
}

// A subject is what an event is about, whatever it is: an issue, a release, a check run.
type subject struct {
	Number      int64    `json:"number"`
	Title       string   `json:"title"`
	Name        string   `json:"name"`
	FullName    string   `json:"full_name"`
	TagName     string   `json:"tag_name"`
	TokenName   string   `json:"token_name"`
	Property    string   `json:"property_name"`
	PackageName string   `json:"affected_package_name"`
	Summary     string   `json:"summary"`
	Note        string   `json:"note"`
	Login       string   `json:"login"`
	Slug        string   `json:"slug"`
	Environment string   `json:"environment"`
	HeadBranch  string   `json:"head_branch"`
	HeadRef     string   `json:"head_ref"`
	ContentType string   `json:"content_type"`
	HTMLURL     string   `json:"html_url"`
	TargetURL   string   `json:"target_url"`
	State       string   `json:"state"`
	Status      string   `json:"status"`
	Conclusion  string   `json:"conclusion"`
	Merged      bool     `json:"merged"`
	Account     *account `json:"account"`
	Sponsor     *account `json:"sponsor"`
	CreatedAt   stamp    `json:"created_at"`
	UpdatedAt   stamp    `json:"updated_at"`
	SubmittedAt stamp    `json:"submitted_at"`
	PublishedAt stamp    `json:"published_at"`
	CompletedAt stamp    `json:"completed_at"`
	StartedAt   stamp    `json:"started_at"`
}

type commit struct {
	ID        string   `json:"id"`
	Message   string   `json:"message"`
	URL       string   `json:"url"`
	Timestamp stamp    `json:"timestamp"`
	Author    author   `json:"author"`
	Added     []string `json:"added"`
	Removed   []string `json:"removed"`
	Modified  []string `json:"modified"`
}

type author struct {
	Name     string `json:"name"`
	Username string `json:"username"`
}

type page struct {
	Title   string `json:"title"`
	HTMLURL string `json:"html_url"`
}

// A stamp is a time, or zero for whatever cannot be read as one: GitHub gives times as text, as seconds
// and not at all, and an event is worth having without.
type stamp struct{ time.Time }

// UnmarshalJSON never answers an error.
func (s *stamp) UnmarshalJSON(b []byte) error {
	*s = stamp{}
	var text string
	var seconds int64
	switch {
	case json.Unmarshal(b, &text) == nil:
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil //nolint:nilerr // See the type.
		}
		s.Time = t.UTC()
	case json.Unmarshal(b, &seconds) == nil && seconds > 0 && seconds < 1<<33:
		s.Time = time.Unix(seconds, 0).UTC()
	}
	if y := s.Year(); y < 1970 || y > 9999 { // encoding/json refuses to write years of five digits
		s.Time = time.Time{}
	}
	return nil
}

// latest gives the last of the times that are known.
func latest(stamps ...stamp) (t time.Time) {
	for _, s := range stamps {
		if s.After(t) {
			t = s.Time
		}
	}
	return t
}

// at is when the subject came to be what the event says.
func (s *subject) at() time.Time {
	if s == nil {
		return time.Time{}
	}
	return latest(s.CreatedAt, s.UpdatedAt, s.SubmittedAt, s.PublishedAt, s.CompletedAt, s.StartedAt)
}

// name is what people call the subject, "" if it has no name.
func (s *subject) name() string {
	if s == nil {
		return ""
	}
	return cmp.Or(s.Title, s.FullName, s.Name, s.TagName, s.TokenName, s.Property, s.PackageName, s.Summary,
		s.Note, s.Login, s.Slug, s.Environment, s.HeadBranch, s.HeadRef, s.Account.name(), s.Sponsor.name(), s.ContentType)
}

func (a *account) name() string {
	if a == nil {
		return ""
	}
	return cmp.Or(a.Login, a.Slug)
}
