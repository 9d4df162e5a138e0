package main

import (
	"context"
	"sync"

	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// idempotentRow has a receiver that remembers a million ids see a million messages, no two alike.
func idempotentRow(ids *identities) measure.Row {
	plain := func(context.Context) (measure.Load, error) {
		t, id, o := &tally{}, ids.get(), &order{}
		do := one[*order](t)
		var mu sync.Mutex
		seen := make(map[string]struct{}, million)
		knows := func(id string) bool {
			mu.Lock()
			defer mu.Unlock()
			_, dup := seen[id]
			return dup
		}
		remember := func(id string) {
			mu.Lock()
			defer mu.Unlock()
			seen[id] = struct{}{}
		}
		return byHand(t, func(ctx context.Context, n, first int) error {
			for i := first; i < first+n; i++ {
				if knows(id(i)) {
					continue
				}
				if err := do(ctx, o); err != nil {
					return err
				}
				remember(id(i))
			}
			return nil
		})
	}
	ours := func(ctx context.Context) (measure.Load, error) {
		t, id, o := &tally{}, ids.get(), &order{}
		seen := &idempotency.Memory{Max: 2 * million, Expect: million}
		return inProcess(ctx, orders, t, func(i int) (string, *order) { return id(i), o },
			flow.Step("do", orders, endpoint.Do(one[*order](t)), flow.Around(idempotency.Receiver{Store: seen})),
			flow.Direct(orders))
	}
	r := direct("idempotent receiver, a million ids", plain, ours)
	r.Count = million
	return r
}
