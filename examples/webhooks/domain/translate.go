package domain

import (
	"cmp"
	"encoding/json"
	"fmt"
)

// FromCode translates events of the family Code.
func FromCode(e Event) (Activity, error) {
	a, p, err := translate(e, Code)
	if err != nil {
		return Activity{}, err
	}
	switch e.Event {
	case "push":
		push(&a, p)
	case "create", "delete":
		a.Title = fmt.Sprintf("%sd %s %s", e.Event, clip(p.RefType, maxName), a.Ref)
	case "gollum":
		a.Title = "wiki edited"
		if len(p.Pages) > 0 {
			a.Title, a.URL = fmt.Sprintf("wiki edited: %s (%s)", p.Pages[0].Title, count(len(p.Pages), "page")), cmp.Or(p.Pages[0].HTMLURL, a.URL)
		}
	case "page_build":
		a.State = p.Build.Status
		a.Title = "pages " + cmp.Or(a.State, "built")
	case "repository_import":
		a.State = p.Status
		a.Title = "import: " + cmp.Or(a.State, "done")
	}
	return a.finish(), nil
}

// FromReview translates events of the family Review.
func FromReview(e Event) (Activity, error) {
	a, p, err := translate(e, Review)
	if err != nil {
		return Activity{}, err
	}
	if pr := p.PullRequest; pr != nil && pr.Merged {
		a.State = "merged"
	}
	switch {
	case e.Event == "pull_request_review" && p.Review != nil:
		a.State = cmp.Or(p.Review.State, a.State)
		a.URL, a.At = cmp.Or(p.Review.HTMLURL, a.URL), latest(p.Review.SubmittedAt, stamp{a.At})
	case e.Event == "pull_request_review_comment" && p.Comment != nil:
		a.URL, a.At = cmp.Or(p.Comment.HTMLURL, a.URL), latest(stamp{p.Comment.at()}, stamp{a.At})
	}
	return a.finish(), nil
}

// FromIssues translates events of the family Issues.
func FromIssues(e Event) (Activity, error) {
	a, p, err := translate(e, Issues)
	if err != nil {
		return Activity{}, err
	}
	if (e.Event == "issue_comment" || e.Event == "discussion_comment") && p.Comment != nil {
		a.URL, a.At = cmp.Or(p.Comment.HTMLURL, a.URL), latest(stamp{p.Comment.at()}, stamp{a.At})
	}
	return a.finish(), nil
}

// FromAutomation translates events of the family Automation: State is how the run ended, else how far
// it is.
func FromAutomation(e Event) (Activity, error) {
	a, p, err := translate(e, Automation)
	if err != nil {
		return Activity{}, err
	}
	switch e.Event {
	case "status":
		a.State, a.URL, a.At = p.State, cmp.Or(p.TargetURL, a.URL), latest(p.CreatedAt, p.UpdatedAt)
		a.Title = fmt.Sprintf("status %s: %s", p.Context, p.State)
		return a.finish(), nil
	case "workflow_dispatch":
		var name string
		_ = json.Unmarshal(p.Workflow, &name) // a path as text; in other events an object, and then no name
		a.Title = "workflow dispatched: " + cmp.Or(name, a.Ref)
		return a.finish(), nil
	case "repository_dispatch":
		a.Ref = cmp.Or(a.Ref, p.Branch)
		return a.finish(), nil
	}
	if s, _ := p.subject(e.Event); s != nil {
		a.State = cmp.Or(s.Conclusion, s.Status, s.State)
		a.Ref = cmp.Or(a.Ref, s.HeadBranch)
		a.URL = cmp.Or(s.HTMLURL, s.TargetURL, a.URL)
	}
	if a.State != "" {
		a.Title += " (" + a.State + ")"
	}
	return a.finish(), nil
}

// FromSecurity translates events of the family Security.
func FromSecurity(e Event) (Activity, error) {
	a, _, err := translate(e, Security)
	if err != nil {
		return Activity{}, err
	}
	return a.finish(), nil
}

// FromCommunity translates events of the family Community.
func FromCommunity(e Event) (Activity, error) {
	a, p, err := translate(e, Community)
	if err != nil {
		return Activity{}, err
	}
	switch e.Event {
	case "star":
		a.At = p.StarredAt.Time
	case "fork":
		a.Title = "forked to " + p.Forkee.FullName
	case "public":
		a.Title = "made public"
	}
	return a.finish(), nil
}

// FromAdmin translates events of the family Admin.
func FromAdmin(e Event) (Activity, error) {
	a, p, err := translate(e, Admin)
	if err != nil {
		return Activity{}, err
	}
	if (e.Event == "team" || e.Event == "team_add") && p.Repository == nil {
		a.URL = cmp.Or(p.Team.HTMLURL, a.URL)
	}
	return a.finish(), nil
}

func push(a *Activity, p *payload) {
	a.URL = cmp.Or(p.Compare, a.URL)
	switch {
	case p.Deleted:
		a.State, a.Title = "deleted", "push deleted "+a.Ref
	case p.Forced:
		a.State, a.Title = "forced", fmt.Sprintf("force-pushed %s to %s", count(len(p.Commits), "commit"), a.Ref)
	default:
		a.Title = fmt.Sprintf("pushed %s to %s", count(len(p.Commits), "commit"), a.Ref)
		if p.Created {
			a.State = "created"
		}
	}
	if p.HeadCommit != nil {
		a.At = p.HeadCommit.Timestamp.Time
	}
	if len(p.Commits) == 0 {
		return
	}
	a.Commits = make([]Commit, len(p.Commits))
	for i := range p.Commits {
		c := &p.Commits[i]
		files := make([]string, 0, len(c.Added)+len(c.Modified)+len(c.Removed))
		files = append(append(append(files, c.Added...), c.Modified...), c.Removed...)
		a.Commits[i] = Commit{
			SHA: clip(c.ID, maxName), Message: clip(c.Message, maxTitle), URL: clip(c.URL, maxURL),
			Author: clip(cmp.Or(c.Author.Username, c.Author.Name), maxName), At: c.Timestamp.Time, Files: files,
		}
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
