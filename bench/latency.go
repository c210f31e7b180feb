package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/bench/rtnl"
)

// latency measures from the put of a lease to its route, and from its end to the end of the route.
func (b *bench) latency(ctx context.Context, _ *agent) error {
	const times = 300
	var puts, routes, gone []time.Duration
	for k := range times {
		i := b.peers + k
		put, route, err := b.follow(ctx, i, true)
		if err != nil {
			return fmt.Errorf("put of peer %d: %w", i, err)
		}
		_, end, err := b.follow(ctx, i, false)
		if err != nil {
			return fmt.Errorf("delete of peer %d: %w", i, err)
		}
		puts, routes, gone = append(puts, put), append(routes, route), append(gone, end)
	}
	p50, p99 := median(routes), quantile(routes, 0.99)
	b.report.add(b.peers, "d", "put of a lease to etcd's answer, p50, p99", ms(median(puts))+", "+ms(quantile(puts, 0.99)), "")
	b.report.addGoal(b.peers, "d", "put of a lease to its route, p50", ms(p50), "below 1.5 ms", p50 < 1500*time.Microsecond)
	b.report.addGoal(b.peers, "d", "put of a lease to its route, p99", ms(p99), "below 6 ms", p99 < 6*time.Millisecond)
	b.report.add(b.peers, "d", "delete of a lease to the end of its route, p50, p99", ms(median(gone))+", "+ms(quantile(gone, 0.99)), "")
	return nil
}

// follow puts or removes the lease of peer i and waits until the kernel has followed. It returns the time until etcd
// answered and until the route was there or gone.
func (b *bench) follow(ctx context.Context, i int, there bool) (answered, routed time.Duration, err error) {
	if err := b.watch.Quiet(5 * time.Millisecond); err != nil {
		return 0, 0, err
	}
	var g errgroup.Group
	began := time.Now()
	g.Go(func() error {
		defer func() { answered = time.Since(began) }()
		if there {
			return b.cluster.put(ctx, i)
		}
		return b.cluster.remove(ctx, i)
	})
	at, err := b.watch.Until(patience, func() bool { return b.watch.Has(rtnl.Route, i) == there })
	if failed := g.Wait(); failed != nil {
		return 0, 0, failed
	}
	if err != nil {
		return 0, 0, err
	}
	_, err = b.watch.Until(patience, func() bool {
		return b.watch.Has(rtnl.Forward, i) == there && b.watch.Has(rtnl.Neighbour, i) == there
	})
	return answered, at.Sub(began), err
}
