package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/bench/rtnl"
)

// damage is one way to break what weftd keeps. The time of the repair counts from its end; that of one entry from its
// beginning, because it may be back before anybody learns that it was gone.
type damage struct {
	name string
	do   func() error
	one  bool // it is one entry
}

// repairTable breaks everything once, and holds that all is as it was.
func (b *bench) repairTable(ctx context.Context) error {
	b.report.damaged = b.peers
	for _, d := range b.damages() {
		var took []time.Duration
		var made int
		for range min(b.runs, 5) {
			if err := errors.Join(ctx.Err(), b.watch.Quiet(150*time.Millisecond)); err != nil {
				return err
			}
			t, m, err := b.repairOf(d)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			took, made = append(took, t), max(made, m)
		}
		b.report.addDamage(d.name, took, made)
	}
	return b.repairRules(ctx)
}

func (b *bench) damages() []damage {
	link := func() int {
		if l, err := net.InterfaceByName(device); err == nil {
			return l.Index
		}
		return 0
	}
	upDown := func(name string) func() error {
		return func() error { return errors.Join(b.conn.SetUp(name, false), b.conn.SetUp(name, true)) }
	}
	one := b.peers / 2
	return []damage{
		{"a route deleted", func() error { return b.conn.RemoveKind(rtnl.Route, link(), one, one+1) }, true},
		{"a neighbour deleted", func() error { return b.conn.RemoveKind(rtnl.Neighbour, link(), one, one+1) }, true},
		{"an FDB entry deleted", func() error { return b.conn.RemoveKind(rtnl.Forward, link(), one, one+1) }, true},
		{"all routes deleted", func() error { return b.conn.RemoveKind(rtnl.Route, link(), 0, b.peers) }, false},
		{"all entries deleted", func() error { return b.conn.Remove(link(), 0, b.peers) }, false},
		{"address of flannel.1 deleted", b.removeAddress, false},
		{"flannel.1 deleted", func() error { return b.conn.RemoveLink(device) }, false},
		{"flannel.1 set down and up", upDown(device), false},
		{"uplink set down and up", upDown(uplink), false},
	}
}

// removeAddress takes the address away from the device. The kernel takes all routes with the last one.
func (b *bench) removeAddress() error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	all, err := link.Addrs()
	if err != nil {
		return err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return b.conn.RemoveAddress(device, [4]byte(n.IP.To4()), 32)
		}
	}
	return fmt.Errorf("%s has no address", device)
}

// repairOf does the damage, and returns how long it took until all was there again, and how many entries were
// written.
func (b *bench) repairOf(d damage) (took time.Duration, made int, err error) {
	rules, err := ruleset()
	if err != nil {
		return 0, 0, err
	}
	b.watch.Forget()
	began := time.Now()
	if err := d.do(); err != nil {
		return 0, 0, err
	}
	if !d.one {
		began = time.Now()
	}
	damaged := false
	at, err := b.watch.Until(patience, func() bool {
		whole := b.watch.Whole(b.peers) && b.watch.Up && b.watch.Address
		damaged = damaged || !whole
		return whole && (damaged || time.Since(began) > 100*time.Millisecond) // the uplink takes nothing with it
	})
	if err != nil {
		return 0, 0, err
	}
	if err := errors.Join(b.watch.Quiet(150*time.Millisecond), b.watch.List()); err != nil {
		return 0, 0, err
	}
	after, err := ruleset()
	if err != nil {
		return 0, 0, err
	}
	if !b.watch.Whole(b.peers) || !b.watch.Up || !b.watch.Address || rules != after {
		return 0, 0, errors.New("the kernel is not as it was")
	}
	if !damaged {
		return 0, b.watch.Made, nil
	}
	return max(0, at.Sub(began)), b.watch.Made, nil
}

// repairRules takes rules away.
func (b *bench) repairRules(ctx context.Context) error {
	commits, err := rtnl.Open(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return err
	}
	defer commits.Close()
	damages, err := ruleDamages()
	if err != nil {
		return err
	}
	for _, d := range damages {
		var took []time.Duration
		for range min(b.runs, 5) {
			if err := errors.Join(ctx.Err(), wait(ctx, 150*time.Millisecond)); err != nil {
				return err
			}
			t, err := rulesRepair(commits, d)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			took = append(took, t)
		}
		b.report.addDamage(d.name, took, 0)
	}
	return nil
}

// rulesRepair returns the time between the kernel's announcement of the damage and that of the repair.
func rulesRepair(commits *rtnl.Conn, d damage) (time.Duration, error) {
	before, err := ruleset()
	if err != nil {
		return 0, err
	}
	if err := commits.Drain(); err != nil {
		return 0, err
	}
	if err := d.do(); err != nil {
		return 0, err
	}
	broken, err := commits.Commit(patience)
	if err != nil {
		return 0, err
	}
	mended, err := commits.Commit(patience)
	if err != nil {
		return 0, err
	}
	for began := time.Now(); ; {
		after, err := ruleset()
		if err != nil || after == before {
			return mended.Sub(broken), err
		}
		if time.Since(began) > 2*time.Second {
			return 0, fmt.Errorf("the rules are not as they were:\n%s\nbefore:\n%s", after, before)
		}
	}
}
