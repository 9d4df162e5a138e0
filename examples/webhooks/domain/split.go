package domain

// Split takes a push apart: one part for each commit, the first of which stands for the event too. An
// activity with at most one commit is its own only part, so that there is always a part and no event
// goes uncounted.
func Split(a Activity) []Activity {
	if len(a.Commits) < 2 {
		return []Activity{a}
	}
	parts := make([]Activity, len(a.Commits))
	for i := range parts {
		p := a
		p.Commits = a.Commits[i : i+1 : i+1]
		p.IsEvent = a.IsEvent && i == 0
		p.Part, p.Parts = i+1, len(parts)
		parts[i] = p
	}
	return parts
}
