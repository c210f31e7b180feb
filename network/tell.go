package network

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/subnet"
)

// stuckAfter is how long a pass may take before the agent counts as stuck. 5,000 peers take a fraction of a second.
const stuckAfter = time.Minute

// Status returns what the agent has to say of itself.
func (a *Agent) Status() Status {
	s := a.report.status()
	s.Version, s.Node, s.Network = a.o.Version, a.o.Node, a.o.Mark.Name
	held, health := a.claims.lease(), a.o.Store.Health()
	if held != (subnet.Lease{}) {
		s.Lease = &LeaseStatus{Subnets: prefixes(held.Subnets), PublicIPs: addrs(held), Backend: held.Backend, Expires: moment(health.Expires)}
	}
	s.Store.Kind, s.Store.LastAnswer = a.o.StoreKind, moment(health.Since)
	s.Store.Connected = s.Store.Error == "" && health.Err == nil && !health.Since.IsZero()
	if s.Store.Error == "" && health.Err != nil {
		s.Store.Error = health.Err.Error()
	}
	if left := time.Until(health.Expires); !health.Expires.IsZero() && left < a.o.RenewMargin {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the lease ends in %s and is not being renewed; see whether the store can be reached", left.Round(time.Second)))
	}
	s.Kernel.Objects, s.Dropped = a.wanted.count(), a.drops.status()
	s.Peers, s.Transition = a.peers(held)
	s.Kernel.InStep = s.Kernel.InStep && a.picture.still() // a peer that is listed no more may still be there
	s.Rotation = a.rotations.status()
	why := a.notReady()
	s.Ready = len(why) == 0
	s.Waiting = append(s.Waiting, why...)
	slices.Sort(s.Waiting)
	s.Waiting = slices.Compact(s.Waiting)
	return s
}

// status is the part of Status that the report knows.
func (r *report) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{Config: r.text, MTU: r.mtu, Waiting: []string{}, Warnings: []string{}, Uplinks: []UplinkStatus{}, Peers: []PeerStatus{}}
	for _, subject := range slices.Sorted(maps.Keys(r.warnings)) {
		s.Warnings = append(s.Warnings, r.warnings[subject]...)
	}
	for f, u := range r.ups {
		if u.Valid() {
			s.Uplinks = append(s.Uplinks, uplinkStatus(subnet.Family(f), u))
		}
	}
	s.Store.Error = r.storeErr
	s.Store.Faults = append([]string{}, r.faults...)
	s.Kernel = KernelStatus{InStep: r.inStep, LastPass: moment(r.lastPass), PassSeconds: r.lastTook.Seconds(),
		Changes: copied(r.changes), Repairs: copied(r.repairs), Error: r.kernelErr}
	s.Firewall = r.fire
	return s
}

// copied is a copy of m that is not nil.
func copied(m map[string]uint64) map[string]uint64 {
	c := map[string]uint64{}
	maps.Copy(c, m)
	return c
}

func uplinkStatus(f subnet.Family, u backend.Uplink) UplinkStatus {
	return UplinkStatus{Family: f.String(), Link: u.Link, MTU: u.MTU, Address: u.Addr.String(), Public: u.Public.String(), Reason: u.Reason}
}

// peers lists the peers in the order of their subnets, and tells how they follow a change of the backend.
func (a *Agent) peers(own subnet.Lease) ([]PeerStatus, *TransitionStatus) {
	var leases []subnet.Lease
	a.picture.each(func(x subnet.Lease) {
		if x.Subnets != own.Subnets && (x.Node == "" || x.Node != a.o.Node) {
			leases = append(leases, x)
		}
	})
	slices.SortFunc(leases, func(x, y subnet.Lease) int { return x.Subnets.Compare(y.Subnets) })
	list := []PeerStatus{}
	p := a.report.inPlan()
	counted, tried := a.wireGuardStatus(), a.pathStates()
	for _, x := range leases {
		text, inStep := a.report.peer(x.Subnets)
		list = append(list, PeerStatus{Node: x.Node, Subnets: prefixes(x.Subnets), PublicIPs: addrs(x), Backend: x.Backend, Way: p.by(x),
			Programmed: inStep && text == "" && a.picture.settled(x.Subnets), Error: text,
			WireGuard: statusOf(counted, x.Subnets), Paths: p.paths(x, tried)})
	}
	return list, p.transition(leases)
}

// peer tells why a peer is not served, and whether the kernel is in step with the plan.
func (r *report) peer(s subnet.Subnets) (failure string, inStep bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed[s], r.inStep
}

// notReady says why pods on this node cannot be sure of their network; nil means that they can. A peer whose lease
// cannot be used at all is a warning, since this node cannot mend it.
func (a *Agent) notReady() []string {
	why := a.report.sentences()
	add := func(is bool, text string) {
		if is {
			why = append(why, text)
		}
	}
	h := a.o.Store.Health()
	add(a.claims.lease() == (subnet.Lease{}) && len(why) == 0, errNoLease.Error())
	add(!h.Expires.IsZero() && time.Now().After(h.Expires), fmt.Sprintf("the lease has expired at %s; the store cannot be reached to renew it", h.Expires.Format(time.RFC3339)))
	r := &a.report
	r.mu.Lock()
	defer r.mu.Unlock()
	add(len(why) > 0 && r.storeErr != "", r.storeErr)
	add(r.kernelErr != "", r.kernelErr)
	add(!r.inStep && len(why) == 0, "the first pass over the kernel is not done yet")
	add(r.fire.Error != "", "firewall: "+r.fire.Error)
	add(!r.fire.InStep && r.fire.Error == "" && len(why) == 0, "the firewall rules are not in place yet")
	add(!r.ready && len(why) == 0, "weftd is starting")
	add(a.o.Install != nil && !r.equipped && len(why) == 0, "the CNI configuration is not installed yet")
	return why
}

// stuck tells for how long a pass has been at work without an end; 0 while all is well.
func (a *Agent) stuck() time.Duration {
	a.report.mu.Lock()
	defer a.report.mu.Unlock()
	if s := a.report.started; !s.IsZero() && time.Since(s) > stuckAfter {
		return time.Since(s)
	}
	return 0
}

// moment is nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
