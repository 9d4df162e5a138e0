package domain

import (
	"slices"
	"testing"
)

func TestEveryEventHasAFamily(t *testing.T) {
	known := map[Family][]string{
		Code:       {"push", "create", "delete", "release", "gollum", "package", "page_build"},
		Review:     {"pull_request", "pull_request_review", "pull_request_review_comment", "pull_request_review_thread", "merge_group"},
		Issues:     {"issues", "issue_comment", "discussion", "label", "milestone", "projects_v2_item", "sub_issues"},
		Automation: {"check_run", "check_suite", "status", "workflow_run", "workflow_job", "deployment", "deployment_status"},
		Security:   {"dependabot_alert", "security_advisory", "secret_scanning_alert"},
		Community:  {"star", "watch", "fork", "sponsorship", "public"},
		Admin:      {"ping", "member", "team", "organization", "installation", "repository", "branch_protection_rule"},
	}
	for f, events := range known {
		for _, e := range events {
			if got, ok := FamilyOf(e); !ok || got != f {
				t.Errorf("%s is %q, want %q", e, got, f)
			}
		}
		if !slices.Contains(Families(), f) {
			t.Errorf("Families() lacks %s", f)
		}
	}
	if len(Families()) != len(known) {
		t.Errorf("%d families, %d tested", len(Families()), len(known))
	}
	for _, e := range []string{"", "Push", "pull-request", "pushh"} {
		if f, ok := FamilyOf(e); ok {
			t.Errorf("%q is %s", e, f)
		}
	}
}
