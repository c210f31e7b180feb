package network

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/subnet"
)

// errNoLease is what the node waits for between the first snapshot and the first lease.
var errNoLease = errors.New("the store has not given a lease yet")

// lease says what this node wants to announce, and returns the lease that it holds; zero while there is none.
func (a *Agent) lease(n news) (subnet.Lease, error) {
	l := &a.loop
	kept := a.claims.lease()
	if kept == (subnet.Lease{}) {
		kept = a.former()
	}
	own, err := a.ownBackend()
	if err != nil {
		return subnet.Lease{}, err
	}
	attrs, err := own.Attrs(a.node(kept.Attrs))
	if err != nil {
		return subnet.Lease{}, fmt.Errorf("backend %s: %w", l.config.Backend, err)
	}
	attrs.Node, attrs.Backend = a.o.Node, l.config.Backend
	previous := kept.Subnets
	if previous.IsZero() {
		previous = a.envSubnets()
	}
	if a.claims.ask(subnet.Want{Config: l.config, Attrs: attrs, Previous: previous}) && n.complete {
		a.ask.ring()
	}
	held := a.claims.lease()
	if held == (subnet.Lease{}) {
		a.report.waiting("lease", cmp.Or(a.claims.failure(), errNoLease))
		return held, nil
	}
	a.report.waiting("lease", nil)
	return held, nil
}

// former finds the lease that this node had before it was started: by its identity, else flanneld's by its address.
func (a *Agent) former() subnet.Lease {
	var found subnet.Lease
	a.picture.each(func(x subnet.Lease) {
		if x.Node == a.o.Node {
			found = x
		}
		for f, u := range a.loop.uplinks {
			if found == (subnet.Lease{}) && x.Node == "" && u.Valid() && x.PublicIP[f] == u.Public {
				found = x
			}
		}
	})
	return found
}

// ownBackend is the backend that the config names.
func (a *Agent) ownBackend() (backend.Backend, error) {
	l := &a.loop
	if b, ok := l.backends[l.config.Backend]; ok {
		return b, nil
	}
	b, _, err := a.o.Backend(l.config.Backend, l.config.BackendConfig)
	if err != nil {
		return nil, err
	}
	l.backends = map[string]backend.Backend{l.config.Backend: b}
	return b, nil
}

// node is what plans know of this node.
func (a *Agent) node(kept subnet.Attrs) backend.Node {
	return backend.Node{Name: a.o.Node, Networks: a.loop.config.Networks, Further: a.loop.config.Further, Uplinks: a.loop.uplinks, Kept: kept, Prepared: a.loop.prepared.text}
}
