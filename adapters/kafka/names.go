package kafka

import (
	"fmt"
	"sync"
)

// names are the instances that are members now, of one Subscriber and those that its Group gave. Two of one name would
// expel each other.
type names struct {
	mu    sync.Mutex
	taken map[[2]string]bool // by group and name
}

// take gives an instance's name in a group, with a number if there is one of that name, until free is called.
func (x *names) take(group, instance string) (name string, free func()) {
	if instance == "" {
		return "", func() {}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.taken == nil {
		x.taken = map[[2]string]bool{}
	}
	name = instance
	for n := 2; x.taken[[2]string{group, name}]; n++ {
		name = fmt.Sprintf("%s-%d", instance, n)
	}
	x.taken[[2]string{group, name}] = true
	return name, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.taken, [2]string{group, name})
	}
}
