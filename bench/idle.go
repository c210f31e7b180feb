package main

import (
	"context"
	"fmt"
	"time"
)

// idle measures memory, and the processor time of ten seconds in which nothing happens.
func (b *bench) idle(ctx context.Context, a *agent) error {
	if err := b.watch.Quiet(15 * time.Second); err != nil {
		return err
	}
	m, err := a.memory()
	if err != nil {
		return err
	}
	before, err := a.cpu()
	if err != nil {
		return err
	}
	if err := wait(ctx, 10*time.Second); err != nil {
		return err
	}
	after, err := a.cpu()
	if err != nil {
		return err
	}
	used := after - before
	b.goal("e", "memory (RSS) of weftd when settled", fmt.Sprintf("%.1f MiB", m.now), "below 30 MiB at 5,000", m.now < 30)
	b.row("e", "memory (RSS) at most", fmt.Sprintf("%.1f MiB", m.most))
	b.goal("f", "CPU in ten idle seconds", ms(used), "below 3 ms", used < 3*time.Millisecond)
	return nil
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
