package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
)

// Ours run with their defaults: idempotent, all replicas, Snappy, committed messages only. The ceiling compresses
// nothing, as the client comes: where that counts, ours run once more like that.
func (k *cluster) ours() kafka.Cluster { return kafka.Cluster{Brokers: []string{k.address}} }

func ourPublisher(k *cluster) (message.Publisher, error) { return compressing(kafka.Snappy)(k) }

func compressing(by kafka.Compression) func(k *cluster) (message.Publisher, error) {
	return func(k *cluster) (message.Publisher, error) {
		return kafka.NewPublisher(kafka.PublisherConfig{Cluster: k.ours(), Compression: by})
	}
}

func ourSubscriber(k *cluster, group string) (message.Subscriber, error) {
	return kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: k.ours(), Group: group})
}

// laned has as many keys of a partition in flight.
func laned(n int) subscriberOf {
	return func(k *cluster, group string) (message.Subscriber, error) {
		return kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: k.ours(), Group: group, Lanes: n})
	}
}

func ourConsumers(k *cluster) []measure.Ours {
	must := measure.Must{Ceiling: 0.6}
	return []measure.Ours{
		{Contestant: measure.Contestant{Name: "adapters.Claims", Open: k.reads(partitions, false, ourClaims)}, Must: must},
		{Contestant: measure.Contestant{Name: "flow.Run", Open: k.reads(partitions, false, ourFlow(0))}, Must: must},
		{Contestant: measure.Contestant{Name: "Subscribe", Open: k.reads(partitions, false, subscribed(ourSubscriber))}, Must: must},
		{
			Contestant: measure.Contestant{Name: "the least that Subscribe can be", Open: k.reads(partitions, false, subscribed(bare(64)))},
			Must:       measure.Must{Why: whyLeast},
		},
		{
			Contestant: measure.Contestant{Name: "kafka.Subscriber on a Watermill router", Open: k.reads(partitions, false, routed(ourSubscriber, 0))},
			Must:       measure.Must{Why: whyRouters},
		},
	}
}

// ourClaims takes whole partitions, run by run.
func ourClaims(ctx context.Context, k *cluster, topic, group string, l *ledger) (func() error, error) {
	s, err := kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: k.ours(), Group: group})
	if err != nil {
		return nil, err
	}
	own := func(c adapters.Claim) {
		run := make([]*adapters.Record, 0, 256)
		for {
			var err error
			run, err = c.Next(run[:0])
			for i := range run {
				l.mark(run[i].Payload)
			}
			c.Finish(run)
			if err != nil {
				return
			}
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var claiming sync.WaitGroup
	claiming.Go(func() {
		if err := s.Claim(ctx, []string{topic}, own); err != nil {
			l.finish(err)
		}
	})
	return func() error {
		stop()
		claiming.Wait()
		return s.Close()
	}, nil
}

// started starts a flow on a publisher and a subscriber of ours.
func (k *cluster) started(ctx context.Context, group string, by kafka.Compression, parts ...flow.Part) (*flow.Handle, func() error, error) {
	f, err := flow.New(group, parts...)
	if err != nil {
		return nil, nil, err
	}
	p, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: k.ours(), TransactionalID: group, Compression: by})
	if err != nil {
		return nil, nil, err
	}
	s, err := ourSubscriber(k, group)
	if err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	end := func() error { return errors.Join(s.Close(), p.Close()) }
	h, err := f.Start(ctx, p, s)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return h, func() error {
		h.Stop()
		<-h.Done()
		return errors.Join(h.Err(), end())
	}, nil
}

// ourFlow is a flow of one step that takes d; d of 0 only counts.
func ourFlow(d time.Duration, parts ...flow.Part) beginner {
	return func(ctx context.Context, k *cluster, topic, group string, l *ledger) (func() error, error) {
		dead, err := k.nothing(ctx)
		if err != nil {
			return nil, err
		}
		do := func(ctx context.Context, body []byte) error {
			if d == 0 {
				l.mark(body)
			} else {
				l.during(body, func() { spend(ctx, d) })
			}
			return nil
		}
		parts := append([]flow.Part{
			flow.Step("do", channel.Topic[[]byte](topic), endpoint.Do(do)), flow.Policy{DeadLetter: channel.Topic[[]byte](dead)},
		}, parts...)
		h, end, err := k.started(ctx, group, kafka.Snappy, parts...)
		if err != nil {
			return nil, err
		}
		go func() {
			<-h.Done()
			l.finish(errors.Join(errEnded, h.Err()))
		}()
		return end, nil
	}
}

const byRegion = "by-region"

// parts are the flow along a route.
func (r *route) parts() []flow.Part {
	in := func(i int) func([]byte) bool { return func(b []byte) bool { return region(b) == i } }
	to := func(i int) channel.Topic[[]byte] { return channel.Topic[[]byte](r.out[i]) }
	return []flow.Part{
		flow.Step(byRegion, channel.Topic[[]byte](r.in), router.Content(
			router.When("eu", in(0), to(0)), router.When("us", in(1), to(1)), router.When("as", in(2), to(2)))),
		flow.Policy{DeadLetter: channel.Topic[[]byte](r.dead)},
	}
}

// sent counts what the route has passed on.
func sent(f interface{ Counts() map[string]flow.Counts }) func() int64 {
	return func() int64 { return f.Counts()[byRegion].Sent }
}

// flowRelay is the flow's own engine.
func flowRelay(by kafka.Compression, parts ...flow.Part) relay {
	return func(ctx context.Context, k *cluster, r *route) (func() int64, func() error, error) {
		h, end, err := k.started(ctx, r.group, by, append(r.parts(), parts...)...)
		if err != nil {
			return nil, nil, err
		}
		return sent(h), end, nil
	}
}

// routerRelay is the flow in a Watermill router.
func routerRelay(ctx context.Context, k *cluster, r *route) (func() int64, func() error, error) {
	f, err := flow.New(r.group, r.parts()...)
	if err != nil {
		return nil, nil, err
	}
	p, err := ourPublisher(k)
	if err != nil {
		return nil, nil, err
	}
	s, err := ourSubscriber(k, r.group)
	if err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	router := message.NewDefaultRouter(watermill.NopLogger{})
	h, err := f.AddTo(router, p, s)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close(), p.Close())
	}
	end, err := running(ctx, router)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close(), p.Close())
	}
	return sent(h), func() error {
		h.Stop()
		return errors.Join(end(), s.Close(), p.Close())
	}, nil
}
