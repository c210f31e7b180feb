package network

import (
	"context"
	"fmt"
	"maps"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// replan makes a new plan where config, uplink or lease are others than before, and adds backends that peers use.
func (a *Agent) replan(ctx context.Context, own subnet.Lease, n news) error {
	l := &a.loop
	if l.set && own != l.plan.own {
		l.set, l.full = false, true
	}
	if n.all || !l.set {
		a.picture.each(func(x subnet.Lease) { a.serve(x.Backend) })
	}
	for _, c := range n.changed {
		a.serve(c.new.Backend)
	}
	if l.set {
		return nil
	}
	ra, err := a.routerAdvertisements(ctx)
	if err != nil {
		return err
	}
	l.plan = plan{node: a.node(own.Attrs), own: own, config: l.config, backends: l.backends, blackhole: a.o.Blackhole, acceptRA: ra}
	l.set = true
	a.wantFirewall()
	return nil
}

// serve makes sure that there is a backend for peers of the given type. A type that is not known is an error of each
// such peer, in its plan.
func (a *Agent) serve(kind string) {
	l := &a.loop
	if _, ok := l.backends[kind]; ok || kind == "" {
		return
	}
	b, _, err := a.o.Backend(kind, "{}")
	if err != nil {
		return
	}
	l.backends = maps.Clone(l.backends) // plans hold the old map
	l.backends[kind] = b
	l.plan.backends = l.backends
	l.full = true
}

// routerAdvertisements finds the uplinks whose router advertisements must survive forwarding: those that heed them.
func (a *Agent) routerAdvertisements(ctx context.Context) ([2]string, error) {
	u := a.loop.uplinks[subnet.Inet6]
	if !u.Valid() {
		return [2]string{}, nil
	}
	have, err := a.kern.List(ctx, kernel.Scope{}, []string{acceptRA(u.Link)})
	if err != nil {
		return [2]string{}, fmt.Errorf("reading sysctl %s: %w", acceptRA(u.Link), err)
	}
	if v := have.Sysctls[acceptRA(u.Link)].Value; v == "0" || v == "" {
		return [2]string{}, nil
	}
	return [2]string{subnet.Inet6: u.Link}, nil
}
