package seats

// Keys is how many keys have a seat, whoever sits on it.
func (l *Lanes) Keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys)
}
