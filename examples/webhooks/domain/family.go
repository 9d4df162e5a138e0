package domain

// A Family groups the event types that one translator understands.
type Family string

// The families.
const (
	Code       Family = "code"       // what is in the repository: pushes, refs, releases, packages
	Review     Family = "review"     // pull requests and what is said about them
	Issues     Family = "issues"     // issues, discussions, boards
	Automation Family = "automation" // checks, workflows, deployments
	Security   Family = "security"   // alerts and advisories
	Community  Family = "community"  // stars, forks, sponsors
	Admin      Family = "admin"      // who may do what: members, teams, apps, rules, settings
)

// Families gives all families, in the order in which they are printed.
func Families() []Family {
	return []Family{Code, Review, Issues, Automation, Security, Community, Admin}
}

// FamilyOf gives the one family of an event type, false if GitHub has no such event. It is a switch
// because the compiler then refuses a type that is listed twice.
func FamilyOf(event string) (Family, bool) {
	switch event {
	case "push", "create", "delete", "commit_comment", "gollum", "release", "package",
		"registry_package", "page_build", "merge_queue_entry", "repository_import":
		return Code, true
	case "pull_request", "pull_request_review", "pull_request_review_comment",
		"pull_request_review_thread", "pull_request_target", "merge_group":
		return Review, true
	case "issues", "issue_comment", "issue_dependencies", "sub_issues", "label", "milestone",
		"discussion", "discussion_comment", "project", "project_card", "project_column",
		"projects_v2", "projects_v2_item", "projects_v2_status_update":
		return Issues, true
	case "check_run", "check_suite", "status", "workflow_dispatch", "workflow_job", "workflow_run",
		"deployment", "deployment_protection_rule", "deployment_review", "deployment_status",
		"repository_dispatch":
		return Automation, true
	case "code_scanning_alert", "dependabot_alert", "repository_advisory",
		"repository_vulnerability_alert", "secret_scanning_alert", "secret_scanning_alert_location",
		"secret_scanning_scan", "security_advisory", "security_and_analysis",
		"dismissal_request_code_scanning", "dismissal_request_dependabot",
		"dismissal_request_secret_scanning", "bypass_request_secret_scanning",
		"exemption_request_secret_scanning":
		return Security, true
	case "star", "watch", "fork", "public", "sponsorship", "content_reference":
		return Community, true
	case "branch_protection_configuration", "branch_protection_rule", "custom_property",
		"custom_property_promoted_to_enterprise", "custom_property_values", "deploy_key",
		"github_app_authorization", "installation", "installation_repositories",
		"installation_target", "marketplace_purchase", "member", "membership", "meta", "org_block",
		"organization", "organization_custom_property", "organization_custom_property_values",
		"personal_access_token_request", "ping", "repository", "repository_ruleset",
		"bypass_request_push_ruleset", "exemption_request_push_ruleset", "team", "team_add":
		return Admin, true
	}
	return "", false
}
