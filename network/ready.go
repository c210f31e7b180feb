package network

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weft-network/weft/subnet"
)

// waitingAfter is how long the agent may take before it tells in a file what it is waiting for. A restart is quicker, and is nobody's
// concern.
const waitingAfter = 2 * time.Second

// finish ends a pass that got as far as the kernel: it says how the pass went, and lets pods in when all is in place.
func (a *Agent) finish(ctx context.Context, complete bool, err error) error {
	a.report.step(a.o.Log, err)
	a.report.warn(a.o.Log, "kernel parameters", a.loop.denials())
	a.report.waiting("agent", err)
	if err != nil {
		return err
	}
	a.picture.landed()
	a.report.programmed(complete)
	a.report.planned(a.loop.plan)
	a.settle(complete, time.Now())
	return a.letPodsIn(ctx)
}

// letPodsIn writes subnet.env once the lease is held, the rules are in place and the peers are programmed, and keeps
// it true from then on. The file itself is looked at in full passes, and when somebody else touched it.
func (a *Agent) letPodsIn(ctx context.Context) error {
	if !a.report.isReady() && !a.report.mayBeReady() {
		return nil
	}
	env := a.env()
	if env == a.loop.env && a.report.isReady() {
		return nil
	}
	a.resizePods(ctx, env)
	changed, err := subnet.WriteEnv(a.o.SubnetFile, env)
	if err != nil {
		a.report.waiting("subnet file", err)
		return err
	}
	a.report.waiting("subnet file", nil)
	if changed {
		a.o.Log.WithField("file", a.o.SubnetFile).Info("subnet file written")
		a.resizePods(ctx, env)
	}
	if err := os.Remove(a.waitingFile()); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("removing what the agent waited for: %w", err)
	}
	a.loop.env = env
	if a.report.becomeReady(env.MTU) {
		a.tell.ring()
		a.save.ring()
		a.equip.ring()
		if a.o.Ready != nil && a.o.Install == nil {
			a.o.Ready()
		}
	}
	return nil
}

// env is what the CNI plugin must know.
func (a *Agent) env() subnet.Env {
	p := &a.loop.plan
	first, further := p.networks()
	e := subnet.Env{Networks: first, Further: subnet.Prefixes(slices.Concat(further[:]...)), MTU: p.mtu()}
	for _, f := range subnet.Families {
		if own := p.own.Subnets[f]; own.IsValid() {
			e.Subnets[f] = subnet.FirstHost(own)
		}
		e.Masquerade = e.Masquerade || a.masquerades(p.config, f)
	}
	return e
}

// envSubnets are the subnets that subnet.env remembers; zero where it cannot be read.
func (a *Agent) envSubnets() subnet.Subnets {
	e, err := subnet.ReadEnv(a.o.SubnetFile)
	if err != nil {
		return subnet.Subnets{}
	}
	return e.Leased()
}

// waitingFile is where the CNI plugin finds what the agent waits for.
func (a *Agent) waitingFile() string { return a.o.SubnetFile + ".waiting" }

// tellWaiting writes what the agent waits for into a file while the node is not ready for pods, for the CNI plugin
// and whoever looks.
func (a *Agent) tellWaiting(ctx context.Context) error {
	told := ""
	for range ticks(ctx, waitingAfter) {
		if a.report.isReady() {
			return nil
		}
		text := strings.Join(a.notReady(), "; ")
		if text == told || text == "" {
			continue
		}
		told = text
		a.o.Log.WithField("for", text).Info("waiting")
		if _, err := subnet.WriteFile(a.waitingFile(), []byte(text+"\n"), 0o644); err != nil {
			a.o.Log.WithError(err).Warn("telling the CNI plugin what the agent waits for failed")
		}
		if a.report.isReady() { // it became so while the file was written
			os.Remove(a.waitingFile())
		}
	}
	return ctx.Err()
}
