package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/bench/peer"
	"github.com/weft-network/weft/bench/rtnl"
)

// kubernetes measures weftd on Node objects, at all sizes on one control plane.
func (b *bench) kubernetes(ctx context.Context) (err error) {
	n, err := newNodes(ctx, filepath.Join(b.dir, "data", "kube"))
	if err != nil {
		return err
	}
	defer n.Stop()
	have := 0
	for _, peers := range b.options.peers {
		if peers < have {
			return fmt.Errorf("%d Nodes after %d: sizes have to grow", peers, have)
		}
		if err := n.fill(ctx, have, peers); err != nil {
			return fmt.Errorf("make Nodes: %w", err)
		}
		have = peers
		if err := b.onNodes(ctx, n, peers); err != nil {
			return fmt.Errorf("%d Nodes: %w", peers, err)
		}
	}
	return nil
}

// onNodes takes everything that depends on the number of Nodes.
func (b *bench) onNodes(ctx context.Context, n *nodes, peers int) (err error) {
	b.peers, b.bare, b.source = peers, nil, n.source()
	if b.watch, err = rtnl.NewWatch(device); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.watch.Close()) }()
	size, err := n.size(ctx, 0)
	if err != nil {
		return err
	}
	b.row("k", "size of a Node, JSON", fmt.Sprintf("%.1f kB", float64(size)/1000))
	before, err := n.requests("weft")
	if err != nil {
		return err
	}
	a, err := b.starts(ctx)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer func() { err = errors.Join(err, a.kill(), b.clean()) }()
	after, err := n.requests("weft")
	if err != nil {
		return err
	}
	b.row("k", "requests of a start", after.since(before).per(b.startRuns()))
	if err := b.idle(ctx, a); err != nil {
		return fmt.Errorf("idle: %w", err)
	}
	if err := b.nodeLatency(ctx, n); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	return b.heartbeats(ctx, n, a)
}

// nodeLatency measures from the request that makes a Node to its route, one after the other.
func (b *bench) nodeLatency(ctx context.Context, n *nodes) error {
	const times = 100
	var all followed
	told, err := n.watch(ctx)
	if err != nil {
		return err
	}
	defer told.close()
	for i := b.peers; i < b.peers+times; i++ {
		if err := b.followNode(ctx, n, told, i, &all); err != nil {
			return fmt.Errorf("following the Node of peer %d: %w", i, err)
		}
	}
	b.row("k", "a Node is made, to the API server's answer, p50, p99", pair(all.answered))
	b.row("k", "a Node is made, to the event at a bare watcher, p50, p99", pair(all.told))
	b.row("k", "a Node is made, to its route, p50, p99", pair(all.routed))
	err = n.each(ctx, times, func(ctx context.Context, i int) error { return n.remove(ctx, peer.NodeName(b.peers+i)) })
	if err != nil {
		return err
	}
	_, err = b.watch.Until(patience, func() bool { return b.watch.Whole(b.peers) })
	return err
}

// followNode makes the Node of peer i, waits until everybody has followed, and adds how long that took to all.
func (b *bench) followNode(ctx context.Context, n *nodes, w *nodeWatch, i int, all *followed) error {
	var answered, told time.Duration
	var g errgroup.Group
	began := time.Now()
	g.Go(func() error {
		defer func() { answered = time.Since(began) }()
		return n.put(ctx, i)
	})
	g.Go(func() error {
		defer func() { told = time.Since(began) }()
		return w.until(peer.NodeName(i))
	})
	at, err := b.watch.Until(patience, func() bool { return b.watch.Has(rtnl.Route, i) })
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	all.answered, all.told, all.routed = append(all.answered, answered), append(all.told, told), append(all.routed, at.Sub(began))
	_, err = b.watch.Until(patience, func() bool { return b.watch.Has(rtnl.Forward, i) && b.watch.Has(rtnl.Neighbour, i) })
	return err
}

const (
	beatTime  = 30 * time.Second
	beatEvery = 5 * time.Second // of one Node, as long as the API server can do it
)

// heartbeats lets all Nodes report that they are alive, again and again, and measures what weftd and, beside it, a plain
// informer have of it.
func (b *bench) heartbeats(ctx context.Context, n *nodes, a *agent) error {
	i, err := b.startInformer(ctx, n)
	if err != nil {
		return fmt.Errorf("informer: %w", err)
	}
	defer func() { _ = i.kill() }() // nothing is owed to it
	before, err := n.requests("weft")
	if err != nil {
		return err
	}
	ours, err := a.cpu()
	if err != nil {
		return err
	}
	theirs, err := i.cpu()
	if err != nil {
		return err
	}
	b.watch.Forget()
	began := time.Now()
	beats, err := b.beat(ctx, n)
	if err != nil {
		return err
	}
	if err := b.watch.Quiet(time.Second); err != nil {
		return err
	}
	took := time.Since(began)
	b.row("k", "heartbeats of Nodes in the API server", fmt.Sprintf("%d in %.0f s", beats, took.Seconds()))
	if err := b.reportBeats("CPU of weftd meanwhile", a, ours, beats, took); err != nil {
		return err
	}
	m, err := a.memory()
	if err != nil {
		return err
	}
	b.row("k", "memory (RSS) of weftd after them", fmt.Sprintf("%.1f MiB, %.1f MiB of it the program's own pages", m.now, m.program))
	after, err := n.requests("weft")
	if err != nil {
		return err
	}
	b.row("k", "requests of weftd, and entries written, meanwhile", fmt.Sprintf("%s, %d", after.since(before).per(1), b.watch.Changes))
	if err := b.reportBeats("a plain informer: CPU meanwhile", i, theirs, beats, took); err != nil {
		return err
	}
	if m, err = i.memory(); err != nil {
		return err
	}
	b.row("k", "a plain informer: memory (RSS) after them, at most", fmt.Sprintf("%.1f MiB, %.1f MiB", m.now, m.most))
	return nil
}

// reportBeats puts down what a program has used for heartbeats since it had used before.
func (b *bench) reportBeats(what string, a *agent, before time.Duration, beats int, took time.Duration) error {
	after, err := a.cpu()
	if err != nil {
		return err
	}
	used := after - before
	b.row("k", what, fmt.Sprintf("%.1f %% of a processor, %s each", 100*used.Seconds()/took.Seconds(), ms(used/time.Duration(beats))))
	return nil
}

// beat sends heartbeats of all Nodes in turn, at most one every beatEvery of each, and returns how many.
func (b *bench) beat(ctx context.Context, n *nodes) (int, error) {
	count := int(beatTime/beatEvery) * b.peers
	began := time.Now()
	var done atomic.Int64
	err := n.each(ctx, count, func(ctx context.Context, i int) error {
		due := began.Add(time.Duration(i) * beatEvery / time.Duration(b.peers))
		if time.Since(began) > beatTime {
			return nil
		}
		if err := wait(ctx, time.Until(due)); err != nil {
			return err
		}
		done.Add(1)
		return n.heartbeat(ctx, i%b.peers)
	})
	return int(done.Load()), err
}

// startInformer starts the informer that weftd is compared with, waits until it has all Nodes, and says what that took.
func (b *bench) startInformer(ctx context.Context, n *nodes) (*agent, error) {
	file := n.file("informer.synced")
	if err := os.RemoveAll(file); err != nil {
		return nil, err
	}
	a, err := start(b.dir, "informer.log", "informer", n.file("informer.kubeconfig"), file)
	if err != nil {
		return nil, err
	}
	_, err = b.watch.Until(patience, func() bool {
		_, err := os.Stat(file)
		return err == nil || ctx.Err() != nil
	})
	if err != nil {
		return nil, errors.Join(err, a.kill())
	}
	took := time.Since(a.began)
	used, err := a.cpu()
	if err != nil {
		return nil, errors.Join(err, a.kill())
	}
	b.row("k", "a plain informer: start until it has all Nodes, CPU", ms(took)+", "+ms(used))
	return a, b.watch.Quiet(2 * time.Second)
}

// pair is the median and what one in a hundred exceeds.
func pair(values []time.Duration) string {
	return ms(median(values)) + ", " + ms(quantile(values, 0.99))
}
