package kafka

// transactions are what a publisher has for transactions.
type transactions struct{}

func (t *transactions) close() {}
