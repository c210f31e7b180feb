package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	churnTime = 30 * time.Second
	churnRate = 200                    // leases that come, and leases that go, in a second
	churnLife = 500 * time.Millisecond // of one lease
)

// churn lets leases come and go, and holds that each was served and that nothing is left.
func (b *bench) churn(ctx context.Context, a *agent) error {
	total := int(churnRate * churnTime / time.Second)
	b.watch.Forget()
	before, err := a.cpu()
	if err != nil {
		return err
	}
	done := false
	g, ctx := errgroup.WithContext(ctx)
	finished := make(chan struct{})
	began := time.Now()
	g.Go(func() error { return b.comeAndGo(ctx, total, 0, b.cluster.put) })
	g.Go(func() error {
		defer close(finished)
		return b.comeAndGo(ctx, total, churnLife, b.cluster.remove)
	})
	_, err = b.watch.Until(churnTime+patience, func() bool {
		select {
		case <-finished:
			done = true
		default:
		}
		return done && (b.watch.Whole(b.peers) || ctx.Err() != nil)
	})
	took := time.Since(began)
	if failed := g.Wait(); failed != nil {
		return failed
	}
	after, cpuErr := a.cpu()
	if err != nil || cpuErr != nil {
		return fmt.Errorf("the kernel does not follow: %w", err)
	}
	missed := 0
	for i := b.peers; i < b.peers+total; i++ {
		if !b.watch.Seen(i) {
			missed++
		}
	}
	if err := b.watch.List(); err != nil {
		return err
	}
	exact := "state exact afterwards"
	if !b.watch.Whole(b.peers) {
		exact = "state wrong afterwards"
	}
	text := fmt.Sprintf("%d of %d missed, %s", missed, total, exact)
	b.report.addGoal(b.peers, "i", "200 leases that come and go per second for 30 s", text, "nothing missed", missed == 0 && b.watch.Whole(b.peers))
	used := after - before
	b.report.add(b.peers, "i", "CPU of weftd meanwhile", fmt.Sprintf("%.0f %% of a processor, %s per change",
		100*used.Seconds()/took.Seconds(), ms(used/time.Duration(2*total))), "")
	return nil
}

// comeAndGo does one thing for each new peer at the rate of the churn, from the time delay on.
func (b *bench) comeAndGo(ctx context.Context, total int, delay time.Duration, do func(context.Context, int) error) error {
	began := time.Now().Add(delay)
	for k := range total {
		if err := wait(ctx, time.Until(began.Add(time.Duration(k)*time.Second/churnRate))); err != nil {
			return err
		}
		if err := do(ctx, b.peers+k); err != nil {
			return err
		}
	}
	return nil
}
