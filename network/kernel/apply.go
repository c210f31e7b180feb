package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// Apply makes the change. Objects to be put are made, or changed in place without a packet lost; a device is made anew only
// where the kernel cannot change it (VNI, port, GBP, family of the local address). What such a device held of ours is put back
// unless c drops it, and so it is where a new MAC makes the kernel forget neighbours; between the two there is a gap of milliseconds.
//
// What is to go and has gone already is a success. A route of somebody else under the key of one to be put is not replaced: that
// is a failure of this route. The error is a Failures, or says that the kernel could not be spoken with, or is ctx.Err(); in
// the latter two cases, list again to know how far it came.
func (k *Kernel) Apply(ctx context.Context, c Change) error {
	return k.ApplyAround(ctx, c, func(context.Context) {})
}

// ApplyAround is Apply with a call of between when the devices of c are as they should be and no address, entry or route of
// c.Put is there yet. between must not use k. It is not called where Apply does not come that far.
func (k *Kernel) ApplyAround(ctx context.Context, c Change, between func(context.Context)) error {
	if c.IsEmpty() {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	a := &applier{Kernel: k, ctx: ctx, between: between}
	err := a.apply(c)
	k.watched.applied(c.Put)
	if len(a.failures) == 0 {
		return err
	}
	return errors.Join(a.failures.sorted(), err)
}

// applier carries one change out.
type applier struct {
	*Kernel
	ctx      context.Context
	between  func(context.Context)
	all      devices
	index    map[string]int
	failures Failures
}

func (a *applier) apply(c Change) error {
	if err := a.look(c); err != nil {
		return err
	}
	c, err := a.withLosses(c)
	if err != nil {
		return err
	}
	steps := []func(c Change) error{
		a.dropNarrow,
		a.dropRivals,
		a.putLinks,
		func(Change) error { a.between(a.ctx); return nil },
		a.addrs,
		a.sysctls,
		a.putEntries, // before routes, so that no packet meets a route without them
		a.putPeers,
		a.putRoutes,
		a.dropWide,
		a.dropEntries, // after routes, so that none misses what it still needs
		a.dropPeers,
		a.dropOthers,
	}
	for _, step := range steps {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		if err := step(c); err != nil {
			return err
		}
	}
	return nil
}

// look learns the devices that c needs: all, or where c changes no device only those that it names, because a host may have many.
func (a *applier) look(c Change) error {
	if len(c.Put.Links)+len(c.Drop.Links) > 0 {
		return a.lookAtAll()
	}
	a.all, a.index = devices{}, map[string]int{}
	for _, name := range c.deviceNames() {
		d, err := a.socket.device(name)
		if err != nil {
			return err
		}
		if d.index != 0 {
			a.all[d.index], a.index[name] = d, d.index
		}
	}
	return nil
}

func (a *applier) lookAtAll() (err error) {
	if a.all, err = a.socket.devices(a.ctx); err != nil {
		return err
	}
	a.index = make(map[string]int, len(a.all))
	for i, d := range a.all {
		a.index[d.name] = i
	}
	return nil
}

// deviceNames returns the devices that addresses, routes and entries of c name.
func (c Change) deviceNames() []string {
	names := map[string]bool{}
	for _, s := range []State{c.Put, c.Drop} {
		for _, v := range s.Addrs {
			names[v.Link] = true
		}
		for _, v := range s.Routes {
			names[v.Link] = true
		}
		for _, v := range s.Neighbours {
			names[v.Link] = true
		}
		for _, v := range s.Forwards {
			names[v.Link] = true
		}
		for _, v := range s.WireGuardPeers {
			names[v.Link] = true
		}
	}
	delete(names, "") // of unreachable routes
	return slices.Sorted(maps.Keys(names))
}

// withLosses returns c with all that the kernel will take away by itself when it changes the devices of c and that c
// does not drop.
func (a *applier) withLosses(c Change) (Change, error) {
	losers := map[string]bool{}
	for _, l := range c.Put.Links {
		if d, ok := a.all[a.index[l.Name]]; ok && d.isOurs() && a.loses(d, l) {
			losers[l.Name] = true
		}
	}
	if len(losers) == 0 {
		return c, nil
	}
	have, err := a.list(a.ctx, a.watched.snapshot().scope)
	if err != nil {
		return c, err
	}
	c.Put.Addrs = keep(c.Put.Addrs, c.Drop.Addrs, have.Addrs, func(v Addr) bool { return losers[v.Link] })
	c.Put.Routes = keep(c.Put.Routes, c.Drop.Routes, have.Routes, func(v Route) bool { return losers[v.Link] })
	c.Put.Neighbours = keep(c.Put.Neighbours, c.Drop.Neighbours, have.Neighbours, func(v Neighbour) bool { return losers[v.Link] })
	c.Put.Forwards = keep(c.Put.Forwards, c.Drop.Forwards, have.Forwards, func(v Forward) bool { return losers[v.Link] })
	return c, nil
}

// keep returns put and those of have that are in danger and not in drop.
func keep[K comparable, V Object[K]](put, drop, have Set[K, V], danger func(V) bool) Set[K, V] {
	put = maps.Clone(put)
	for key, v := range have {
		_, dropped := drop[key]
		if _, ok := put[key]; !ok && !dropped && danger(v) {
			put.Add(v)
		}
	}
	return put
}

// isWide tells whether r may be flanneld's route to all subnets through a WireGuard device, which serves until ours to each of
// them are there.
func (r Route) isWide() bool { return r.Foreign && r.Type == Unicast && !r.Via.IsValid() }

// dropWide takes such routes away.
func (a *applier) dropWide(c Change) error { return a.dropRoutes(c, Route.isWide) }

// dropRoutes takes those routes away that which tells.
func (a *applier) dropRoutes(c Change, which func(Route) bool) error {
	var set Set[RouteKey, Route]
	for _, r := range c.Drop.Routes {
		if which(r) {
			set.Add(r)
		}
	}
	return drop(a, set, func(r Route) string { return r.Link }, func(w *writer, r Route, index int) {
		encodeRoute(w, unix.RTM_DELROUTE, 0, a.mark.Protocol(), r, index)
	})
}

// dropNarrow takes away all routes but the wide ones.
func (a *applier) dropNarrow(c Change) error {
	return a.dropRoutes(c, func(r Route) bool { return !r.isWide() })
}

// dropEntries takes forwarding entries and neighbours away.
func (a *applier) dropEntries(c Change) error {
	err := drop(a, c.Drop.Forwards, func(f Forward) string { return f.Link }, func(w *writer, f Forward, index int) {
		encodeNeigh(w, unix.RTM_DELNEIGH, 0, unix.AF_BRIDGE, index, f.Dst, f.MAC)
	})
	if err != nil {
		return err
	}
	return drop(a, c.Drop.Neighbours, func(n Neighbour) string { return n.Link }, func(w *writer, n Neighbour, index int) {
		encodeNeigh(w, unix.RTM_DELNEIGH, 0, familyOf(n.IP), index, n.IP, n.MAC)
	})
}

// addrs gives new addresses before it takes old ones away: with a device's last IPv4 address all its routes go. Only an IPv6 address
// whose prefix length changes has to go first.
func (a *applier) addrs(c Change) error {
	first, last := Set[Addr, Addr]{}, Set[Addr, Addr]{}
	for _, old := range c.Drop.Addrs {
		isChanged := func(v Addr) bool {
			return v.Link == old.Link && v.Prefix.Addr() == old.Prefix.Addr() && old.Prefix.Addr().Is6()
		}
		if slices.ContainsFunc(slices.Collect(maps.Values(c.Put.Addrs)), isChanged) {
			first.Add(old)
		} else {
			last.Add(old)
		}
	}
	on := func(v Addr) string { return v.Link }
	remove := func(w *writer, v Addr, index int) { encodeAddr(w, unix.RTM_DELADDR, 0, v, index) }
	if err := drop(a, first, on, remove); err != nil {
		return err
	}
	err := put(a, c.Put.Addrs, on, func(w *writer, v Addr, index int) { encodeAddr(w, unix.RTM_NEWADDR, replace, v, index) }, nil)
	if err != nil {
		return err
	}
	return drop(a, last, on, remove)
}

func (a *applier) sysctls(c Change) error {
	return a.writeSysctls(c.Put.Sysctls, func(s Sysctl, err error) { a.failed(false, s, err) })
}

// putEntries makes or replaces neighbours and forwarding entries.
func (a *applier) putEntries(c Change) error {
	err := put(a, c.Put.Neighbours, func(n Neighbour) string { return n.Link }, func(w *writer, n Neighbour, index int) {
		encodeNeigh(w, unix.RTM_NEWNEIGH, replace, familyOf(n.IP), index, n.IP, n.MAC)
	}, nil)
	if err != nil {
		return err
	}
	return put(a, c.Put.Forwards, func(f Forward) string { return f.Link }, func(w *writer, f Forward, index int) {
		encodeNeigh(w, unix.RTM_NEWNEIGH, replace, unix.AF_BRIDGE, index, f.Dst, f.MAC)
	}, nil)
}

// failed notes a failure.
func (a *applier) failed(drop bool, object fmt.Stringer, err error) {
	if r, ok := object.(Route); ok && a.mark != (Mark{}) {
		object = markedRoute{r, a.mark}
	}
	a.failures = append(a.failures, Failure{Drop: drop, Object: object, Err: err})
}
