package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/bench/rtnl"
)

// latency measures from the put of a lease to its route, and from the end of leases to the end of their entries.
func (b *bench) latency(ctx context.Context, _ *agent) error {
	const times = 300
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := b.cluster.client.Watch(ctx, prefix, clientv3.WithPrefix())
	var puts, told, routes []time.Duration
	for i := b.peers; i < b.peers+times; i++ {
		put, err := b.follow(ctx, i, events)
		if err != nil {
			return fmt.Errorf("put of peer %d: %w", i, err)
		}
		puts, told, routes = append(puts, put.answered), append(told, put.told), append(routes, put.routed)
	}
	p50, p99 := median(routes), quantile(routes, 0.99)
	b.report.add(b.peers, "d", "put of a lease to etcd's answer, p50, p99", ms(median(puts))+", "+ms(quantile(puts, 0.99)), "")
	b.report.add(b.peers, "d", "put of a lease to the event at a bare watcher, p50, p99", ms(median(told))+", "+ms(quantile(told, 0.99)), "")
	b.report.addGoal(b.peers, "d", "put of a lease to its route, p50", ms(p50), "below 1.5 ms", p50 < 1500*time.Microsecond)
	b.report.addGoal(b.peers, "d", "put of a lease to its route, p99", ms(p99), "below 6 ms", p99 < 6*time.Millisecond)

	began := time.Now()
	for i := b.peers; i < b.peers+times; i++ {
		if err := b.cluster.remove(ctx, i); err != nil {
			return fmt.Errorf("delete of peer %d: %w", i, err)
		}
	}
	at, err := b.watch.Until(patience, func() bool { return b.watch.Whole(b.peers) })
	if err != nil {
		return err
	}
	b.report.add(b.peers, "d", fmt.Sprintf("%d leases deleted to the end of their entries", times), ms(at.Sub(began)), "")
	return nil
}

// followed is how long it took after a put until etcd answered, until a bare watcher heard of it, and until the route
// was there.
type followed struct{ answered, told, routed time.Duration }

// follow puts the lease of peer i and waits until everybody has followed.
func (b *bench) follow(ctx context.Context, i int, events clientv3.WatchChan) (d followed, err error) {
	if err := b.watch.Quiet(5 * time.Millisecond); err != nil {
		return d, err
	}
	var g errgroup.Group
	began := time.Now()
	g.Go(func() error {
		defer func() { d.answered = time.Since(began) }()
		return b.cluster.put(ctx, i)
	})
	g.Go(func() error {
		r, ok := <-events
		d.told = time.Since(began)
		if !ok {
			return errors.New("the bare watch has ended")
		}
		return r.Err()
	})
	at, err := b.watch.Until(patience, func() bool { return b.watch.Has(rtnl.Route, i) })
	if err := errors.Join(err, g.Wait()); err != nil {
		return d, err
	}
	d.routed = at.Sub(began)
	_, err = b.watch.Until(patience, func() bool {
		return b.watch.Has(rtnl.Forward, i) && b.watch.Has(rtnl.Neighbour, i)
	})
	return d, err
}
