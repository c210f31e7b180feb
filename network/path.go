package network

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// prober is the Engine that tries paths.
type prober interface {
	// Adopt makes paths count as working before they are put, because they are in use already.
	Adopt(paths []kernel.Path)
	// Works returns the paths that work, and a number that is another one when they are others.
	Works() (works map[kernel.Path]bool, edition int)
	// Paths tells what was seen of the paths.
	Paths() map[kernel.Path]kernel.PathState
}

// PathStatus says whether a peer is reached without the tunnel in one family.
type PathStatus struct {
	Family string     `json:"family"` // "IPv4" or "IPv6"
	Direct bool       `json:"direct"`
	Since  *time.Time `json:"since,omitempty"` // absent where the path is not tried
	Reason string     `json:"reason"`
	Falls  uint64     `json:"falls"` // how often the path has stopped to work
}

// prober is the engine that tries paths; nil if there is none.
func (a *Agent) prober() prober {
	for _, e := range a.keeper.list {
		if p, ok := e.(prober); ok {
			return p
		}
	}
	return nil
}

// lookAtPaths has another plan made where other paths work than at the last one. Before the first one, those that the kernel uses
// count as working, so that an agent that was started again changes nothing.
func (a *Agent) lookAtPaths(ctx context.Context) error {
	l := &a.loop
	x := a.prober()
	if x == nil || !(plan{ways: l.choices.ways}).tries() {
		return nil
	}
	if !l.adopted {
		have, err := a.kern.List(ctx, kernel.Scope{}, nil)
		if err != nil {
			return fmt.Errorf("listing the routes that are there: %w", err)
		}
		x.Adopt(inUse(have.Routes, l.uplinks))
		l.adopted = true
	}
	if works, edition := x.Works(); edition != l.edition {
		l.edition = edition
		if !maps.Equal(works, l.works) {
			l.works, l.set, l.full = works, false, true
		}
	}
	return nil
}

// inUse are the paths that carry packets, of which the routes lead to peers on the uplinks.
func inUse(routes kernel.Set[kernel.RouteKey, kernel.Route], uplinks [2]backend.Uplink) (paths []kernel.Path) {
	for _, r := range routes {
		u := uplinks[subnet.FamilyOf(r.Dst.Addr())]
		if r.Type == kernel.Unicast && r.Metric == backend.Metric(r.Dst) && r.Link == u.Link && r.Via.IsValid() && u.Reaches(r.Via) {
			paths = append(paths, kernel.Path{Dst: r.Dst, Via: r.Via, Link: r.Link})
		}
	}
	return paths
}

// pathStates tells what was seen of the paths that are tried, by the subnets that they lead to.
func (a *Agent) pathStates() map[netip.Prefix]kernel.PathState {
	x := a.prober()
	if x == nil {
		return nil
	}
	states := map[netip.Prefix]kernel.PathState{}
	for path, s := range x.Paths() {
		states[path.Dst] = s
	}
	return states
}

// paths tells of a peer by which path it is reached in each family, where its way tries them.
func (p plan) paths(x subnet.Lease, tried map[netip.Prefix]kernel.PathState) (list []PathStatus) {
	var s kernel.State
	by, _, err := p.serve(x, &s)
	if err != nil || !backend.Tries(by.b) {
		return nil
	}
	for _, f := range subnet.Families {
		if !by.node.Serves(f) || !x.Subnets[f].IsValid() {
			continue
		}
		dst := x.Subnets[f].Masked()
		status := PathStatus{Family: f.String()}
		if probe, ok := s.Probes[dst]; !ok {
			status.Reason = fmt.Sprintf("%s is not on the link of %s", x.PublicIP[f], by.node.Uplinks[f].Link)
		} else if state, ok := tried[dst]; ok {
			status = PathStatus{Family: f.String(), Direct: by.node.Works[probe.Path], Since: moment(state.Since), Reason: state.Why, Falls: state.Falls}
		} else {
			status.Reason = "the path without the tunnel is not tried yet"
		}
		list = append(list, status)
	}
	return list
}
