package domain

// check gives a WrongShape error if the payload lacks what events of that type always have.
func (p *payload) check(event string) error {
	if event == "push" && p.Ref == "" {
		return invalid(WrongShape, "payload of push has no ref")
	}
	if (event == "create" || event == "delete") && (p.Ref == "" || p.RefType == "") {
		return invalid(WrongShape, "payload of %s has no ref or no ref_type", event)
	}
	if s, field := p.subject(event); field != "" && s == nil {
		return invalid(WrongShape, "payload of %s has no %s", event, field)
	}
	if event == "fork" && p.Forkee.FullName == "" {
		return invalid(WrongShape, "payload.forkee has no full_name")
	}
	_, err := p.group()
	return err
}

// group gives what the event's digest is kept by. An event that names nobody is GitHub's own.
func (p *payload) group() (string, error) {
	const limit = 256 // of a name; GitHub's own are shorter
	group, field := "github", "payload"
	switch {
	case p.Repository != nil:
		group, field = p.Repository.FullName, "payload.repository.full_name"
	case p.Organization != nil:
		group, field = prefixed("org:", p.Organization.Login), "payload.organization.login"
	case p.Enterprise != nil:
		group, field = prefixed("enterprise:", p.Enterprise.Slug), "payload.enterprise.slug"
	case p.Sender != nil:
		group, field = prefixed("user:", p.Sender.Login), "payload.sender.login"
	}
	if group == "" {
		return "", invalid(WrongShape, "%s is missing", field)
	}
	if len(group) > limit {
		return "", invalid(WrongShape, "%s has %d bytes, at most %d are taken", field, len(group), limit)
	}
	return group, nil
}

func prefixed(prefix, name string) string {
	if name == "" {
		return ""
	}
	return prefix + name
}

// subject gives what an event of that type is about, and the field it must be in: "" if there need not
// be one.
func (p *payload) subject(event string) (s *subject, field string) {
	switch event {
	case "branch_protection_rule":
		return p.Rule, "rule"
	case "check_run":
		return p.CheckRun, "check_run"
	case "check_suite":
		return p.CheckSuite, "check_suite"
	case "code_scanning_alert", "dependabot_alert", "repository_vulnerability_alert",
		"secret_scanning_alert", "secret_scanning_alert_location":
		return p.Alert, "alert"
	case "commit_comment":
		return p.Comment, "comment"
	case "deploy_key":
		return p.Key, "key"
	case "deployment":
		return p.Deployment, "deployment"
	case "deployment_status":
		return p.DeploymentStatus, "deployment_status"
	case "discussion", "discussion_comment":
		return p.Discussion, "discussion"
	case "fork":
		return p.Forkee, "forkee"
	case "installation", "installation_repositories":
		return p.Installation, "" // GitHub's own examples leave it out at times
	case "issues", "issue_comment":
		return p.Issue, "issue"
	case "label":
		return p.Label, "label"
	case "marketplace_purchase":
		return p.Purchase, "marketplace_purchase"
	case "member", "membership":
		return p.Member, "member"
	case "merge_group":
		return p.MergeGroup, "merge_group"
	case "meta", "ping":
		return p.Hook, "hook"
	case "milestone":
		return p.Milestone, "milestone"
	case "org_block":
		return p.BlockedUser, "blocked_user"
	case "page_build":
		return p.Build, "build"
	case "project":
		return p.Project, "project"
	case "project_card":
		return p.ProjectCard, "project_card"
	case "project_column":
		return p.ProjectColumn, "project_column"
	case "projects_v2_item":
		return p.ProjectV2Item, "projects_v2_item"
	case "pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment",
		"pull_request_review_thread":
		return p.PullRequest, "pull_request"
	case "release":
		return p.Release, "release"
	case "security_advisory":
		return p.Advisory, "security_advisory"
	case "sponsorship":
		return p.Sponsorship, "sponsorship"
	case "team", "team_add":
		return p.Team, "team"
	case "workflow_job":
		return p.WorkflowJob, "workflow_job"
	case "workflow_run":
		return p.WorkflowRun, "workflow_run"
	}
	return p.rareSubject(event), ""
}

// rareSubject is subject for events that are taken with or without one.
func (p *payload) rareSubject(event string) *subject {
	switch event {
	case "custom_property", "custom_property_promoted_to_enterprise", "organization_custom_property":
		return p.Definition
	case "deployment_protection_rule":
		return p.Deployment
	case "deployment_review":
		return p.WorkflowRun
	case "installation_target":
		return p.Account
	case "issue_dependencies":
		return p.BlockedIssue
	case "package":
		return p.Package
	case "personal_access_token_request":
		return p.TokenRequest
	case "projects_v2":
		return p.ProjectV2
	case "projects_v2_status_update":
		return p.ProjectV2Status
	case "registry_package":
		return p.RegistryPackage
	case "repository_advisory":
		return p.RepoAdvisory
	case "repository_ruleset":
		return p.Ruleset
	case "sub_issues":
		return p.ParentIssue
	}
	return nil
}
