package network

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// isStale tells whether an installed CNI configuration speaks of a network that is not there: after a reboot subnet.env
// is gone with /run, and in any case the kernel holds nothing of ours. After a mere restart of the agent both are there.
func (a *Agent) isStale(ctx context.Context) bool {
	if a.o.Install == nil {
		return false
	}
	if _, err := subnet.ReadEnv(a.o.SubnetFile); err != nil {
		return true
	}
	have, err := a.kern.List(ctx, kernel.Scope{}, nil)
	return err == nil && have.IsEmpty() // what cannot be known takes no configuration away
}

// followInstalled hears when what is installed, or what it comes from, changes.
func (a *Agent) followInstalled(ctx context.Context) error {
	if a.o.Install == nil {
		return nil
	}
	return a.o.Install.Watch(ctx, a.equip.ring)
}

// keepInstalled keeps the CNI plugins and, from when the node is ready for pods, their configuration on the host. One that
// is stale goes first.
func (a *Agent) keepInstalled(ctx context.Context, stale bool) error {
	if a.o.Install == nil {
		return nil
	}
	a.equip.ring()
	told := false
	return keep(ctx, a.equip, pause{time.Second, 30 * time.Second}, func(ctx context.Context) error {
		ready := a.report.isReady()
		if stale && !ready {
			if err := a.retract(); err != nil {
				return err
			}
			stale = false
		}
		out, err := a.o.Install.Sync(ctx, ready)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.report.installed(a.o.Log, ready, err)
		a.report.warn(a.o.Log, "installation", out.Warnings)
		if err == nil && ready && !told {
			told = true
			a.tell.ring()
			if a.o.Ready != nil {
				a.o.Ready()
			}
		}
		return err
	})
}

// retract takes the stale configuration off the host.
func (a *Agent) retract() error {
	removed, err := a.o.Install.Retract()
	a.report.warn(a.o.Log, "installation", texts(err))
	if removed {
		a.o.Log.Info("the CNI configuration of before the reboot is removed until the node is ready for pods")
	}
	return err
}

// installed says how installing went; ready tells whether it was about the configuration too.
func (r *report) installed(log logrus.FieldLogger, ready bool, err error) {
	r.mu.Lock()
	before := r.waits["installation"]
	r.equipped = ready && err == nil
	r.mu.Unlock()
	r.waiting("installation", err)
	if err != nil && err.Error() != before {
		log.WithError(err).Warn("installing CNI plugins and configuration failed, trying again")
	}
}
