package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// patience is how long anything may take before the measurement is given up.
const patience = 30 * time.Second

// sample is one start: until all entries are in the kernel, and the processor time that was used by then.
type sample struct{ wall, cpu time.Duration }

// starts measures starts of the floor and of weftd in turn, and leaves the last weftd running.
func (b *bench) starts(ctx context.Context) (*agent, error) {
	runs := b.startRuns()
	var floors, starts []sample
	var ready []time.Duration
	for i := range runs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := b.startFloor()
		if err != nil {
			return nil, fmt.Errorf("floor: %w", err)
		}
		a, s, r, err := b.startAgent(ctx)
		if err != nil {
			return nil, fmt.Errorf("weftd: %w", err)
		}
		floors, starts, ready = append(floors, f), append(starts, s), append(ready, r)
		if i == runs-1 {
			if runs > 1 || b.runs == 1 {
				b.reportStarts(floors, starts, ready)
			}
			return a, nil
		}
		if err := errors.Join(a.kill(), b.clean()); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("no run")
}

// startRuns is how often starts are measured. On Kubernetes the differences between them are small beside those to etcd.
func (b *bench) startRuns() int {
	switch {
	case b.source.onNodes():
		return min(b.runs, 3)
	case b.wants("start"):
		return b.runs
	}
	return 1
}

// startFloor measures what cannot be left out.
func (b *bench) startFloor() (s sample, err error) {
	link, err := b.conn.AddVXLAN(device, uplink, address)
	if err != nil {
		return s, err
	}
	if err := b.watch.List(); err != nil {
		return s, err
	}
	a, err := start(b.dir, "floor.log", "floor", append(slices.Clone(b.source.floor), strconv.Itoa(link), strconv.Itoa(b.peers))...)
	if err != nil {
		return s, err
	}
	at, err := b.watch.Until(patience, func() bool { return b.watch.Whole(b.peers) })
	if err != nil {
		return s, errors.Join(err, a.kill())
	}
	if err := a.Wait(); err != nil {
		return s, err
	}
	s = sample{at.Sub(a.began), a.ProcessState.UserTime() + a.ProcessState.SystemTime()}
	if err := b.writeBare(link); err != nil {
		return s, err
	}
	return s, b.clean()
}

// writeBare measures the bare write alone.
func (b *bench) writeBare(link int) error {
	if err := b.conn.Remove(link, 0, b.peers); err != nil {
		return err
	}
	began := time.Now()
	if err := b.conn.Write(link, 0, b.peers); err != nil {
		return err
	}
	b.bare = append(b.bare, time.Since(began))
	return nil
}

// startAgent measures a start of weftd, and leaves it running.
func (b *bench) startAgent(ctx context.Context) (a *agent, s sample, ready time.Duration, err error) {
	if err := b.watch.List(); err != nil {
		return nil, s, 0, err
	}
	if err := b.source.fresh(ctx); err != nil {
		return nil, s, 0, fmt.Errorf("make the Node anew: %w", err)
	}
	if a, err = startWeftd(b.dir, b.source.weftd); err != nil {
		return nil, s, 0, err
	}
	at, err := b.watch.Until(patience, func() bool { return b.watch.Whole(b.peers) })
	if err != nil {
		return nil, s, 0, errors.Join(err, a.kill())
	}
	s.wall = at.Sub(a.began)
	if s.cpu, err = a.cpu(); err != nil {
		return nil, s, 0, errors.Join(err, a.kill())
	}
	file := filepath.Join(b.dir, "state", "subnet.env")
	_, err = b.watch.Until(patience, func() bool {
		_, err := os.Stat(file)
		return err == nil || ctx.Err() != nil
	})
	if err != nil {
		return nil, s, 0, errors.Join(fmt.Errorf("no subnet.env: %w", err), a.kill())
	}
	return a, s, time.Since(a.began), b.watch.Quiet(300 * time.Millisecond)
}

func (b *bench) reportStarts(floors, starts []sample, ready []time.Duration) {
	floor, floorCPU := medians(floors)
	wall, cpu := medians(starts)
	b.row("a", "floor: process, "+b.source.read+", bare batched write", ms(floor))
	b.row("a", "floor: CPU", ms(floorCPU))
	b.goal("b", "start of weftd to complete kernel state", ms(wall)+ratio(wall, floor), "at most 2 x floor", wall <= 2*floor)
	if b.source.onNodes() { // where the floor does not even decode what it reads
		b.row("c", "CPU of weftd at that point", ms(cpu)+ratio(cpu, floorCPU))
	} else {
		b.goal("c", "CPU of weftd at that point", ms(cpu)+ratio(cpu, floorCPU), "at most 2 x floor", cpu <= 2*floorCPU)
	}
	b.row("", "start of weftd to subnet.env: pods may come", ms(median(ready)))
}

func medians(samples []sample) (wall, cpu time.Duration) {
	var walls, cpus []time.Duration
	for _, s := range samples {
		walls, cpus = append(walls, s.wall), append(cpus, s.cpu)
	}
	return median(walls), median(cpus)
}
