package domain

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestSplitCountsEveryEventOnce(t *testing.T) {
	for commits := range 5 {
		a := Activity{Delivery: "d", IsEvent: true, Part: 1, Parts: 1, Commits: make([]Commit, commits)}
		for i := range a.Commits {
			a.Commits[i].SHA = strconv.Itoa(i)
		}
		parts := Split(a)
		if len(parts) != max(1, commits) {
			t.Fatalf("%d commits, %d parts", commits, len(parts))
		}
		for i, p := range parts {
			if p.IsEvent != (i == 0) || p.Part != i+1 || p.Parts != len(parts) || len(p.Commits) != min(1, commits) {
				t.Fatalf("part %d of %d commits: %+v", i, commits, p)
			}
			if commits > 0 && p.Commits[0].SHA != strconv.Itoa(i) {
				t.Fatalf("part %d has commit %s", i, p.Commits[0].SHA)
			}
		}
	}
}

func TestEnrich(t *testing.T) {
	a := Activity{
		Event: "push", Family: Code, State: "forced", Actor: "mill[bot]", Languages: []string{"Go"},
		Commits: []Commit{{SHA: "0123456789", Message: "Merge pull request", Files: []string{"x.py", "a.GO", "README", "y.py"}}},
	}
	e := Enrich(a)
	if e.Weight != 4 || e.Commits[0].Short != "0123456" || !slices.Equal(e.Languages, []string{"Go", "Python"}) {
		t.Fatalf("got %+v", e)
	}
	if !slices.Equal(e.Labels, []string{"bot", "code", "forced", "merge"}) {
		t.Fatalf("labels %v", e.Labels)
	}
	if a.Commits[0].Short != "" || len(a.Languages) != 1 {
		t.Fatal("what was given was changed")
	}
	if !reflect.DeepEqual(Enrich(e), e) {
		t.Fatal("enriching twice changes it")
	}
	for _, c := range []struct {
		a      Activity
		weight int
	}{
		{Activity{Family: Security}, 5},
		{Activity{Family: Automation, State: "failure"}, 4},
		{Activity{Family: Automation, State: "success"}, 1},
		{Activity{Family: Review, State: "merged"}, 3},
		{Activity{Family: Code, Event: "release"}, 3},
		{Activity{Family: Community}, 1},
		{Activity{Family: Issues}, 2},
	} {
		if got := Enrich(c.a).Weight; got != c.weight {
			t.Errorf("%+v weighs %d, want %d", c.a, got, c.weight)
		}
	}
}

// activities makes n parts of pushes and other events of one group.
func activities(n int) []Activity {
	start := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	as := make([]Activity, n)
	for i := range as {
		as[i] = Activity{
			Delivery: "d" + strconv.Itoa(i), Event: []string{"push", "issues", "star"}[i%3], Group: "mill/gate",
			Family: []Family{Code, Issues, Community}[i%3], Actor: []string{"ann", "bob", ""}[i%3],
			Title: "t" + strconv.Itoa(i), IsEvent: i%4 != 3, At: start.Add(time.Duration(i/2) * time.Hour), Weight: i % 5,
			Languages: []string{"Go", "C"}[:i%3],
		}
		if i%3 == 0 {
			as[i].Commits = []Commit{{SHA: strconv.Itoa(i)}}
		}
	}
	return as
}

func TestDigestIsTheSameInAnyOrder(t *testing.T) {
	as := activities(40)
	want, err := Combine("mill/gate", as)
	if err != nil {
		t.Fatal(err)
	}
	if want.Events != 30 || want.Parts != 40 || want.Commits != 14 || len(want.Deliveries) != 30 {
		t.Fatalf("got %+v", want)
	}
	if want.First.Title != "t0" || want.Last.Title != "t39" || !slices.Equal(want.Actors, []string{"ann", "bob"}) {
		t.Fatalf("got %+v", want)
	}
	if want.Families[Code]+want.Families[Issues]+want.Families[Community] != want.Events {
		t.Fatalf("families %v do not sum to %d", want.Families, want.Events)
	}
	text, _ := json.Marshal(want)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		r.Shuffle(len(as), func(i, j int) { as[i], as[j] = as[j], as[i] })
		got, _ := Combine("mill/gate", as)
		if b, _ := json.Marshal(got); string(b) != string(text) {
			t.Fatalf("seed %d:\n%s\nis not\n%s", seed, b, text)
		}
		var folded Digest
		for _, a := range as {
			folded, _ = Fold(folded, a)
		}
		if b, _ := json.Marshal(folded); string(b) != string(text) {
			t.Fatalf("seed %d: folded\n%s\nis not\n%s", seed, b, text)
		}
	}
}

func TestFoldLeavesItsDigest(t *testing.T) {
	as := activities(9)
	d, _ := Combine("mill/gate", as[:6])
	before, _ := json.Marshal(d)
	one, _ := Fold(d, as[6])
	two, _ := Fold(d, as[7])
	if after, _ := json.Marshal(d); string(after) != string(before) {
		t.Fatalf("folding changed its digest:\n%s\n%s", before, after)
	}
	if one.Deliveries[5] != "d6" || reflect.DeepEqual(one, two) {
		t.Fatalf("two folds of one digest share memory: %v %v", one.Deliveries, two.Deliveries)
	}
}

func TestDigestMomentsWithoutTime(t *testing.T) {
	at := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name        string
		as          []Activity
		first, last string
	}{
		{"none known: as they came", []Activity{{Title: "b"}, {Title: "a"}, {Title: "c"}}, "b", "c"},
		{"known beats unknown", []Activity{{Title: "u"}, {Title: "k", At: at}, {Title: "v"}}, "k", "k"},
		{"known alone", []Activity{{Title: "k", At: at}}, "k", "k"},
		{"out of order", []Activity{{Title: "late", At: at.Add(1)}, {Title: "early", At: at}}, "early", "late"},
	} {
		d, _ := Combine("g", c.as)
		if d.First.Title != c.first || d.Last.Title != c.last {
			t.Errorf("%s: first %q last %q", c.name, d.First.Title, d.Last.Title)
		}
	}
}

func TestEmptyDigestHasNoNulls(t *testing.T) {
	d, err := Combine("g", nil)
	b, _ := json.Marshal(d)
	const want = `{"group":"g","events":0,"parts":0,"commits":0,"weight":0,"families":{},"by_event":{},"actors":[],"languages":[],"first":{"title":""},"last":{"title":""},"deliveries":[]}`
	if err != nil || string(b) != want {
		t.Fatalf("%v\n%s", err, b)
	}
}

func BenchmarkParseAndTranslate(b *testing.B) {
	in := line("issues", "d", `{"action":"opened","issue":{"number":3,"title":"The gate sticks"},"repository":{"full_name":"mill/gate"}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		e, err := Parse(in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Translate(e); err != nil {
			b.Fatal(err)
		}
	}
}
