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

// latency measures from the put of a lease to its route, one put after the other and with a rest before each, and from
// the end of leases to the end of their entries.
func (b *bench) latency(ctx context.Context, _ *agent) error {
	const times = 300
	busy, err := b.followAll(ctx, b.peers, times, 0)
	if err != nil {
		return err
	}
	p50, p99 := median(busy.routed), quantile(busy.routed, 0.99)
	b.report.add(b.peers, "d", "put of a lease to etcd's answer, p50, p99", ms(median(busy.answered))+", "+ms(quantile(busy.answered, 0.99)), "")
	b.report.add(b.peers, "d", "put of a lease to the event at a bare watcher, p50, p99", ms(median(busy.told))+", "+ms(quantile(busy.told, 0.99)), "")
	b.report.addGoal(b.peers, "d", "put of a lease to its route, p50", ms(p50), "below 1.5 ms", p50 < 1500*time.Microsecond)
	b.report.addGoal(b.peers, "d", "put of a lease to its route, p99", ms(p99), "below 6 ms", p99 < 6*time.Millisecond)
	took, err := b.forgetAll(ctx, b.peers, times)
	if err != nil {
		return err
	}
	b.report.add(b.peers, "d", fmt.Sprintf("%d leases deleted to the end of their entries", times), ms(took), "")
	rested, err := b.followAll(ctx, b.peers, times, rest)
	if err != nil {
		return err
	}
	b.report.add(b.peers, "d", fmt.Sprintf("the same %v after the last put: etcd's answer, bare watcher, route, p50", rest),
		ms(median(rested.answered))+", "+ms(median(rested.told))+", "+ms(median(rested.routed)), "")
	_, err = b.forgetAll(ctx, b.peers, times)
	return err
}

// rest is long enough for processors to fall asleep and caches to be filled by others, as they are when one node
// joins a quiet cluster.
const rest = 5 * time.Millisecond

// followed is how long it took after each put until etcd answered, until a bare watcher heard of it, and until the
// route was there.
type followed struct{ answered, told, routed []time.Duration }

// followAll puts the leases of peers one after the other.
func (b *bench) followAll(ctx context.Context, first, times int, rest time.Duration) (all followed, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := b.cluster.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if r := <-events; !r.Created {
		return all, fmt.Errorf("watch etcd: %w", r.Err())
	}
	for i := first; i < first+times; i++ {
		if err := b.watch.Quiet(rest); err != nil {
			return all, err
		}
		if err := b.follow(ctx, i, events, &all); err != nil {
			return all, fmt.Errorf("put of peer %d: %w", i, err)
		}
	}
	return all, nil
}

// forgetAll deletes the leases of peers, and returns how long it took until the last entry was gone.
func (b *bench) forgetAll(ctx context.Context, first, times int) (time.Duration, error) {
	began := time.Now()
	for i := first; i < first+times; i++ {
		if err := b.cluster.remove(ctx, i); err != nil {
			return 0, fmt.Errorf("delete of peer %d: %w", i, err)
		}
	}
	at, err := b.watch.Until(patience, func() bool { return b.watch.Whole(first) })
	return at.Sub(began), err
}

// follow puts the lease of peer i, waits until everybody has followed, and adds how long that took to all.
func (b *bench) follow(ctx context.Context, i int, events clientv3.WatchChan, all *followed) error {
	var answered, told time.Duration
	var g errgroup.Group
	began := time.Now()
	g.Go(func() error {
		defer func() { answered = time.Since(began) }()
		return b.cluster.put(ctx, i)
	})
	g.Go(func() error {
		r, ok := <-events
		told = time.Since(began)
		if !ok {
			return errors.New("the bare watch has ended")
		}
		return r.Err()
	})
	at, err := b.watch.Until(patience, func() bool { return b.watch.Has(rtnl.Route, i) })
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	all.answered, all.told, all.routed = append(all.answered, answered), append(all.told, told), append(all.routed, at.Sub(began))
	_, err = b.watch.Until(patience, func() bool {
		return b.watch.Has(rtnl.Forward, i) && b.watch.Has(rtnl.Neighbour, i)
	})
	return err
}
