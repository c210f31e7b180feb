package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/weft-network/weft/bench/rtnl"
)

// repair measures how soon damage is gone again.
func (b *bench) repair(ctx context.Context, _ *agent) error {
	if err := b.repairOne(ctx); err != nil {
		return fmt.Errorf("one entry: %w", err)
	}
	if err := b.repairAll(ctx); err != nil {
		return fmt.Errorf("all entries: %w", err)
	}
	if b.peers != b.options.peers[0] {
		return nil
	}
	return b.repairTable(ctx)
}

// repairOne deletes single entries.
func (b *bench) repairOne(ctx context.Context) error {
	const times = 40
	for _, k := range rtnl.Kinds {
		var took []time.Duration
		for n := range times {
			if err := errors.Join(ctx.Err(), b.watch.Quiet(10*time.Millisecond)); err != nil {
				return err
			}
			i := (n*131 + 7) % b.peers
			b.watch.Forget()
			link, err := net.InterfaceByName(device)
			if err != nil {
				return err
			}
			began := time.Now()
			if err := b.conn.RemoveKind(k, link.Index, i, i+1); err != nil {
				return err
			}
			at, err := b.watch.Until(patience, func() bool { return b.watch.Changes >= 2 && b.watch.Whole(b.peers) })
			if err != nil {
				return fmt.Errorf("%s of peer %d: %w", k, i, err)
			}
			took = append(took, at.Sub(began))
		}
		worst := quantile(took, 0.99)
		b.report.addGoal(b.peers, "g", fmt.Sprintf("repair of one %s, p50, p99", k), ms(median(took))+", "+ms(worst), "below 10 ms", worst < 10*time.Millisecond)
	}
	return nil
}

// repairAll deletes all entries, and counts from the last deletion.
func (b *bench) repairAll(ctx context.Context) error {
	var took, whole []time.Duration
	for range b.runs {
		if err := errors.Join(ctx.Err(), b.watch.Quiet(200*time.Millisecond)); err != nil {
			return err
		}
		link, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		b.watch.Forget()
		first := time.Now()
		if err := b.conn.Remove(link.Index, 0, b.peers); err != nil {
			return err
		}
		last := time.Now()
		at, err := b.watch.Until(patience, func() bool { return b.watch.Changes >= 6*b.peers && b.watch.Whole(b.peers) })
		if err != nil {
			return err
		}
		took, whole = append(took, at.Sub(last)), append(whole, at.Sub(first))
	}
	bare := median(b.bare)
	b.report.add(b.peers, "g", "bare batched write of all entries", ms(bare), "")
	b.report.addGoal(b.peers, "g", "repair of all entries flushed, from the last deletion", ms(median(took))+ratio(median(took), bare),
		"at most 2 x bare write", median(took) <= 2*bare)
	b.report.add(b.peers, "g", "the same from the first deletion", ms(median(whole)), "")
	return nil
}
