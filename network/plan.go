package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// plan says what the kernel of this node must hold. It is made of values only and never changed: another config,
// uplink or lease makes another plan.
type plan struct {
	node      backend.Node
	own       subnet.Lease
	config    subnet.Config
	ways      []way                                    // the newest first: that of the config
	implied   func(kind string, data [2]string) string // what nodes have agreed to that do not say it
	contact   map[kernel.WireGuardPeerKey]bool         // peers whose devices have answered ours; asked for while there are several ways
	parted    bool                                     // the devices of the config are about to have another key, and nobody uses them
	blackhole bool
	strict    bool      // the kernel drops what comes in by another device than answers go out by, unless told otherwise
	acceptRA  [2]string // uplinks on which router advertisements must survive forwarding; "" for none
}

// ownRouteMetric is the metric of the route that catches traffic to absent pods of this node: the last resort behind
// the bridge's own route.
const ownRouteMetric = 4294967295

// base adds what does not depend on any one peer: devices and addresses of every way that somebody uses, the
// route that catches traffic to this node's absent pods, and the kernel parameters that forwarding needs.
func (p plan) base(s *kernel.State) error {
	var errs []error
	for _, w := range p.ways {
		if err := w.b.Base(w.node, p.own, s); err != nil {
			errs = append(errs, fmt.Errorf("backend %s: %w", w.Backend, err))
		}
	}
	if p.strict {
		for name := range s.Links {
			s.Sysctls.Add(kernel.Sysctl{Name: rpFilter(name), Value: "2"})
		}
	}
	for _, f := range subnet.Families {
		own := p.own.Subnets[f]
		if !own.IsValid() {
			continue
		}
		s.Routes.Add(kernel.Route{Dst: own, Metric: ownRouteMetric, Type: p.catch()})
		for _, y := range p.sysctls(f) {
			s.Sysctls.Add(y)
		}
	}
	return errors.Join(errs...)
}

func (p plan) catch() kernel.RouteType {
	if p.blackhole {
		return kernel.Blackhole
	}
	return kernel.Unreachable
}

// sysctls are the parameters that forwarding of a family needs. A kernel that forwards IPv6 ignores router
// advertisements unless accept_ra is 2, and would lose the default route that it learned from them.
func (p plan) sysctls(f subnet.Family) []kernel.Sysctl {
	if f == subnet.Inet {
		return []kernel.Sysctl{{Name: "net/ipv4/ip_forward", Value: "1"}}
	}
	list := []kernel.Sysctl{{Name: "net/ipv6/conf/all/forwarding", Value: "1"}}
	for _, link := range p.acceptRA {
		if link != "" {
			list = append(list, kernel.Sysctl{Name: acceptRA(link), Value: "2"})
		}
	}
	return list
}

// acceptRA is the name of the parameter that decides about router advertisements on a device.
func acceptRA(link string) string { return "net/ipv6/conf/" + link + "/accept_ra" }

// rpFilter is the name of the parameter that decides about the reverse path of IPv4 packets on a device: a peer may use one
// way to this node and be reached by another.
func rpFilter(link string) string { return "net/ipv4/conf/" + link + "/rp_filter" }

// peer adds what one peer needs. It adds nothing where it returns an error.
func (p plan) peer(l subnet.Lease, s *kernel.State) error {
	_, _, err := p.serve(l, s)
	return err
}

// add puts what one peer needs into all, or nothing and an error. shared tells whether all held any of it before, as it does when a node
// has two leases for a moment. scratch is emptied and used again from call to call.
func (p plan) add(l subnet.Lease, scratch, all *kernel.State) (shared bool, err error) {
	n, most := all.Len(), p.most()
	err = p.peer(l, all)
	if added := all.Len() - n; err == nil && added == most*families(l.Subnets) {
		return false, nil
	}
	clear(scratch.Routes)
	clear(scratch.Neighbours)
	clear(scratch.Forwards)
	clear(scratch.WireGuardPeers)
	clear(scratch.Datagrams)
	clear(scratch.Associations)
	clear(scratch.Commands)
	clear(scratch.Probes)
	alone := p.peer(l, scratch)
	return alone == nil && all.Len()-n != scratch.Len(), err
}

// most is how many objects a peer can have in one family.
func (p plan) most() int {
	if p.tries() {
		return 5
	}
	return 3
}

// tries tells whether paths to peers are tried.
func (p plan) tries() bool {
	for i := range p.ways {
		if backend.Tries(p.ways[i].b) {
			return true
		}
	}
	return false
}

// families counts the families of s.
func families(s subnet.Subnets) (n int) {
	for _, p := range s {
		if p.IsValid() {
			n++
		}
	}
	return n
}

// isPeer tells whether l is somebody else's.
func (p plan) isPeer(l subnet.Lease) bool {
	return l != (subnet.Lease{}) && l.Subnets != p.own.Subnets && (l.Node == "" || l.Node != p.own.Node)
}

// scope says which unmarked objects are ours: flannel's routes to subnets as long as this node's in the cluster's networks. Where
// commands of the operator's make the routes, these look the same and are not ours.
func (p plan) scope() kernel.Scope {
	var s kernel.Scope
	for _, w := range p.ways {
		if _, commands := w.b.(backend.Preparer); commands {
			return s
		}
	}
	for _, f := range subnet.Families {
		own := p.own.Subnets[f]
		for _, n := range p.config.All(f) {
			length := n.SubnetLen
			if !p.config.HoldsIn(f, own) {
				length = own.Bits() // the cluster assigns subnets, of a length that the config does not know
			}
			if own.IsValid() {
				s.Networks = append(s.Networks, kernel.Subnetwork{Prefix: n.Prefix, SubnetLen: length})
			}
		}
	}
	return s
}

// mtu is the size in bytes of the largest packet that fits through every way that is in use.
func (p plan) mtu() int {
	smallest := 0
	for _, w := range p.ways {
		if m := backend.MTU(w.b, w.node); smallest == 0 || m < smallest {
			smallest = m
		}
	}
	return smallest
}

// networks are the cluster's networks: the first of each family, and those after it.
func (p plan) networks() (first [2]netip.Prefix, further [2][]netip.Prefix) {
	for f, n := range p.config.Networks {
		first[f] = n.Prefix
		for _, more := range p.config.Further[f] {
			further[f] = append(further[f], more.Prefix)
		}
	}
	return first, further
}
