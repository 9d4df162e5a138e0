package domain_test

import (
	"fmt"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

func Example() {
	e, err := domain.Parse([]byte(`{"event":"push","delivery":"7f","payload":{"ref":"refs/heads/main",
		"commits":[{"id":"0a1b2c3d4e","message":"Grease the wheel"},{"id":"5f6a7b8c9d","message":"Close the gate"}],
		"repository":{"full_name":"mill/gate"},"sender":{"login":"ann"}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := domain.FromCode(e)
	if err != nil {
		fmt.Println(err)
		return
	}
	parts := domain.Split(a)
	for i := range parts {
		parts[i] = domain.Enrich(parts[i])
		fmt.Println(parts[i].Commits[0].Short, parts[i].Commits[0].Message, parts[i].IsEvent)
	}
	d, _ := domain.Combine(a.Group, parts)
	fmt.Println(d.Group, d.Events, "event,", d.Commits, "commits:", d.Last.Title)
	// Output:
	// 0a1b2c3 Grease the wheel true
	// 5f6a7b8 Close the gate false
	// mill/gate 1 event, 2 commits: pushed 2 commits to main
}

func ExampleParse() {
	_, err := domain.Parse([]byte(`{"event":"issues","delivery":"8a","payload":{"issue":"none"}}`))
	fmt.Println(err)
	fmt.Println(domain.ReasonOf(err))
	// Output:
	// event is invalid: wrong shape: payload.issue is a string, want an object
	// wrong shape
}
