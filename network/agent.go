package network

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Agent keeps one node connected. Make it with New and run it with Run, once. It reads no flags and no environment,
// changes nothing global of the process, and never ends it; there may be several in one, each in a network namespace of its own or
// with another Mark.
type Agent struct {
	o       Options
	kern    *kernel.Kernel
	keeper  engines // the kernel and what goes with it
	metrics *metrics
	berth   *berth    // in Options.Beside
	born    time.Time // when it was made

	picture     picture     // what the store says
	claims      claims      // what this node asks the store for, and got
	wanted      wanted      // what the kernel should hold, and where it was seen to differ
	loop        loop        // the pass's own memory; only the task that keeps the kernel touches it
	rotations   rotations   // a change of the private key under way
	fire        firewall    // what the firewall should hold
	fileDoubted atomic.Bool // subnet.env may not be as it was written
	later       chan time.Duration
	contacts    contacts
	drops       drops
	report      report // what Status tells

	// wake the tasks: keep the kernel, claim, keep the firewall, save, forget leases, tell the store, install
	look, ask, guard, save, part, tell, equip bell
}

// New makes an agent for the network namespace of the calling thread, wherever Run is called later. It changes nothing
// yet. The error names every option that is missing.
func New(o Options) (*Agent, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("making the agent: %w", err)
	}
	k, err := kernel.OpenAs(o.Mark, o.SysctlDir)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	a := &Agent{o: o, kern: k, keeper: engines{o.Engines, k}, look: newBell(), ask: newBell(), guard: newBell(), save: newBell(), part: newBell(), tell: newBell(), equip: newBell()}
	a.later = make(chan time.Duration, 1)
	a.metrics = newMetrics(a)
	a.report.mark, a.born = o.Mark, time.Now()
	if a.berth, err = o.Beside.join(o.Mark, a.look.ring, o.SubnetFile, o.StateFile, o.KeyFile); err != nil {
		k.Close()
		return nil, fmt.Errorf("making the agent: %w", err)
	}
	a.keepShare()
	return a, nil
}

// Run keeps the node connected until ctx ends, and returns ctx's error then, when all that it started has ended. Nothing
// that is missing (store, config, uplink, kernel module) ends it. It leaves the kernel as it is: the pods go on talking.
func (a *Agent) Run(ctx context.Context) error {
	defer a.kern.Close()
	g, ctx := errgroup.WithContext(ctx)
	retry := pause{50 * time.Millisecond, 10 * time.Second}
	task := func(f func(context.Context) error) { g.Go(func() error { return f(ctx) }) }

	stale := a.isStale(ctx)
	task(a.followStore)
	task(a.followKernel)
	task(a.followSubnetFile)
	task(a.serveWithoutStore)
	task(a.resync)
	task(a.runEngines)
	task(a.followContacts)
	task(a.followDrops)
	task(a.remind)
	task(func(ctx context.Context) error { return keep(ctx, a.look, retry, a.pass) })
	task(func(ctx context.Context) error { return keep(ctx, a.ask, retry, a.claim) })
	task(a.keepFirewall)
	task(a.keepSaved)
	task(a.forget)
	task(a.tellWaiting)
	task(a.tellStore)
	task(func(ctx context.Context) error { return a.keepInstalled(ctx, stale) })
	task(a.followInstalled)
	return g.Wait()
}

// followStore watches the store for as long as ctx lasts.
func (a *Agent) followStore(ctx context.Context) error {
	again := newBell()
	again.ring()
	return keep(ctx, again, pause{100 * time.Millisecond, 5 * time.Second}, func(ctx context.Context) error {
		err := a.o.Store.Watch(ctx, a.see)
		if err != nil && ctx.Err() == nil {
			a.report.storeAway(a.o.Log, err)
			a.look.ring() // readiness may depend on it
		}
		return err
	})
}

// see takes in a snapshot of the store.
func (a *Agent) see(s subnet.Snapshot) bool {
	held := a.claims.lease()
	if held != (subnet.Lease{}) && s.Leases[held.Subnets] != held {
		a.claims.doubt() // lost or changed by somebody: ask again, whatever else the snapshot is worth
		a.ask.ring()
	}
	if !a.picture.update(s, time.Now()) {
		a.o.Log.WithField("leases", len(s.Leases)).Warn("the store dropped more than half of the leases at once; reading again before believing it")
		return false
	}
	a.report.storeBack(a.o.Log, s.Faults)
	if a.picture.parting() {
		a.part.ring()
	}
	a.look.ring()
	a.save.ring()
	return true
}

// linger is how long a peer is served after the store has lost its lease. A node whose lease was revoked, or whose
// store was wiped, claims it again within moments, and its pods must not notice.
const linger = 2 * time.Second

// forget lets leases go that have been away for long enough.
func (a *Agent) forget(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.part:
		}
		for left := 1; left > 0; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(linger / 4):
			}
			left = a.picture.forget(time.Now().Add(-linger))
			a.look.ring()
		}
	}
}

// followKernel hears what others change in the kernel.
func (a *Agent) followKernel(ctx context.Context) error {
	again := newBell()
	again.ring()
	return keep(ctx, again, pause{100 * time.Millisecond, 5 * time.Second}, func(ctx context.Context) error {
		err := a.kern.Watch(ctx, func(e kernel.Events) {
			if a.wanted.hear(e) {
				a.look.ring()
			}
		})
		if err != nil && ctx.Err() == nil {
			a.o.Log.WithError(err).Warn("listening to the kernel failed, trying again")
			a.wanted.doubt()
			a.look.ring()
		}
		return err
	})
}

// serveWithoutStore lets the last good snapshot serve where the store does not answer in time, so that a node that
// boots without the store reaches its peers.
func (a *Agent) serveWithoutStore(ctx context.Context) error {
	if a.o.StateFile == "" {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(a.o.StoreGrace):
	}
	a.restore()
	return nil
}

// resync has everything looked at now and then, for what no notification tells.
func (a *Agent) resync(ctx context.Context) error {
	for range ticks(ctx, a.o.Resync) {
		a.wanted.doubt()
		a.look.ring()
		a.guard.ring()
	}
	return ctx.Err()
}
