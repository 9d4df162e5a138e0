package aggregator

// A deadlines is a min-heap of groups by the time they are due. A time in it may be too early, never
// too late: a group that becomes due later than it was stays where it is until it comes up. So a new
// member that extends its group costs nothing here.
type deadlines []deadline

type deadline struct {
	at int64
	g  *group
}

// set has g due at g.due.
func (h *deadlines) set(g *group) {
	switch {
	case g.index < 0:
		g.index = len(*h)
		*h = append(*h, deadline{g.due, g})
		h.up(g.index)
	case g.due < (*h)[g.index].at:
		(*h)[g.index].at = g.due
		h.up(g.index)
	}
}

// top is the group that is due first, nil if there is none.
func (h *deadlines) top() *group {
	for len(*h) > 0 {
		d := &(*h)[0]
		if d.at == d.g.due {
			return d.g
		}
		d.at = d.g.due
		h.down(0)
	}
	return nil
}

func (h *deadlines) remove(g *group) {
	i, last := g.index, len(*h)-1
	if i < 0 {
		return
	}
	g.index = -1
	moved := (*h)[last]
	(*h)[last] = deadline{}
	*h = (*h)[:last]
	if i == last {
		return
	}
	(*h)[i] = moved
	moved.g.index = i
	h.down(i)
	h.up(moved.g.index)
}

func (h *deadlines) up(i int) {
	s := *h
	x := s[i]
	for i > 0 {
		parent := (i - 1) / 2
		if s[parent].at <= x.at {
			break
		}
		s[i] = s[parent]
		s[i].g.index = i
		i = parent
	}
	s[i] = x
	x.g.index = i
}

func (h *deadlines) down(i int) {
	s := *h
	x := s[i]
	for {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1].at < s[c].at {
			c++
		}
		if x.at <= s[c].at {
			break
		}
		s[i] = s[c]
		s[i].g.index = i
		i = c
	}
	s[i] = x
	x.g.index = i
}
