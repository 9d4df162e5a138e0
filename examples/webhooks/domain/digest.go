package domain

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// A Digest sums up the activities of one group. Its JSON is the same whatever order its activities
// came in, save for First and Last of activities that do not say when they were.
type Digest struct {
	Group     string         `json:"group"`
	Events    int            `json:"events"`  // webhook events; a push counts where its first part is
	Parts     int            `json:"parts"`   // activities summed up, parts of pushes included
	Commits   int            `json:"commits"` // of pushes
	Weight    int            `json:"weight"`  // sum
	Families  map[Family]int `json:"families"`
	ByEvent   map[string]int `json:"by_event"`
	Actors    []string       `json:"actors"`    // sorted
	Languages []string       `json:"languages"` // sorted
	First     Moment         `json:"first"`
	Last      Moment         `json:"last"`
	// Deliveries are the ids of the events counted, sorted: over all digests each id is there once.
	Deliveries []string `json:"deliveries"`
}

// A Moment is the first or the last thing that happened.
type Moment struct {
	Title string    `json:"title"`
	URL   string    `json:"url,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// Combine makes the digest of a group of activities.
func Combine(group string, as []Activity) (Digest, error) {
	d := newDigest(group)
	for i := range as {
		d.add(&as[i])
	}
	d.sort()
	return d, nil
}

// Fold adds one activity to a digest, the zero Digest being that of none. It leaves d as it was, so
// that it may be called again for the same d.
func Fold(d Digest, a Activity) (Digest, error) {
	if d.Parts == 0 {
		d = newDigest(a.Group)
	} else {
		d.Families, d.ByEvent = maps.Clone(d.Families), maps.Clone(d.ByEvent)
		d.Actors, d.Languages = slices.Clone(d.Actors), slices.Clone(d.Languages)
		d.Deliveries = slices.Clone(d.Deliveries)
	}
	d.add(&a)
	d.sort()
	return d, nil
}

func newDigest(group string) Digest {
	return Digest{
		Group: group, Families: map[Family]int{}, ByEvent: map[string]int{},
		Actors: []string{}, Languages: []string{}, Deliveries: []string{},
	}
}

func (d *Digest) add(a *Activity) {
	m := Moment{Title: a.Title, URL: a.URL, At: a.At}
	if d.Parts == 0 || m.replaces(d.First, -1) {
		d.First = m
	}
	if d.Parts == 0 || m.replaces(d.Last, +1) {
		d.Last = m
	}
	d.Parts++
	d.Commits += len(a.Commits)
	d.Actors = insert(d.Actors, a.Actor)
	for _, l := range a.Languages {
		d.Languages = insert(d.Languages, l)
	}
	if !a.IsEvent {
		return
	}
	d.Events++
	d.Weight += a.Weight
	d.Families[a.Family]++
	d.ByEvent[a.Event]++
	d.Deliveries = append(d.Deliveries, a.Delivery)
}

// replaces reports whether m, which came after o, is the new first (sign -1) or last (sign +1). A moment
// that is known beats one that is not; of two unknown ones the order of arrival decides.
func (m Moment) replaces(o Moment, sign int) bool {
	switch {
	case m.At.IsZero():
		return o.At.IsZero() && sign > 0
	case o.At.IsZero():
		return true
	}
	return sign*cmp.Or(m.At.Compare(o.At), cmp.Compare(m.Title, o.Title), cmp.Compare(m.URL, o.URL)) > 0
}

func (d *Digest) sort() { slices.Sort(d.Deliveries) }

// insert puts s into a sorted set; "" is nobody.
func insert(set []string, s string) []string {
	i, found := slices.BinarySearch(set, s)
	if found || s == "" {
		return set
	}
	return slices.Insert(set, i, s)
}
