package backend

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Serves tells whether n takes part in the overlay of family f: the cluster uses it and n has an uplink for it.
func (n *Node) Serves(f subnet.Family) bool {
	return n.Networks[f].Enabled() && n.Uplinks[f].Valid()
}

// Announce returns the Attrs that name kind, n's public addresses in the families that the cluster uses, and the MTU of
// the uplinks that have them. It is an error if n has no uplink for one of them, because peers could not reach that half
// of its pods.
func (n *Node) Announce(kind string) (subnet.Attrs, error) {
	a := subnet.Attrs{Backend: kind}
	var errs []error
	for _, f := range subnet.Families {
		switch {
		case !n.Networks[f].Enabled():
		case !n.Uplinks[f].Valid():
			errs = append(errs, fmt.Errorf("no uplink with an %s address, which network %s needs", f, n.Networks[f].Prefix))
		default:
			a.PublicIP[f] = n.Uplinks[f].Public
			if m := n.Uplinks[f].MTU; a.MTU == 0 || m < a.MTU {
				a.MTU = m
			}
		}
	}
	return a, errors.Join(errs...)
}

// Shared tells in which families n can serve peer. It is an error if there is none, if a subnet of the peer
// lies outside of the cluster's networks, or if its public address in one of them is not one that packets can be
// sent to.
func (n *Node) Shared(peer *subnet.Lease) (shared [2]bool, err error) {
	var errs []error
	for _, f := range subnet.Families {
		if !n.Serves(f) || !peer.Subnets[f].IsValid() {
			continue
		}
		shared[f] = true
		if !subnet.Contain(n.Networks[f:f+1], peer.Subnets[f]) && !subnet.Contain(n.Further[f], peer.Subnets[f]) {
			errs = append(errs, fmt.Errorf("subnet %s is not a part of the cluster's network %s", peer.Subnets[f], n.networks(f)))
		}
		if why := unusable(&n.Uplinks[f], f, peer.PublicIP[f]); why != "" {
			errs = append(errs, fmt.Errorf("%s PublicIP %s %s", f, address(peer.PublicIP[f]), why))
		}
	}
	if shared == [2]bool{} {
		errs = append(errs, errors.New("no address family in common with this node"))
	}
	return shared, errors.Join(errs...)
}

// networks names all networks of a family, for messages.
func (n *Node) networks(f subnet.Family) string {
	words := []string{n.Networks[f].Prefix.String()}
	for _, more := range n.Further[f] {
		words = append(words, more.Prefix.String())
	}
	return strings.Join(words, " or ")
}

// unusable says why a cannot be where the outer packets to a peer go; "" if it can.
func unusable(u *Uplink, f subnet.Family, a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "is missing: peers need it to send packets to the node"
	case subnet.FamilyOf(a) != f || a.Is4In6():
		return "is not of that family"
	case a == u.Public || a == u.Addr:
		return "is this node's own"
	case a.IsUnspecified(), a.IsMulticast(), a.IsLoopback(), a.IsLinkLocalUnicast() && f == subnet.Inet6,
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is not the unicast address of a node"
	}
	return ""
}

// address returns a in text, and a word for the address that is not there.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return "(none)"
	}
	return a.String()
}

// Direct is the route to peer's subnet on the uplink itself, without a tunnel, held to what the peer's uplink takes.
func (n *Node) Direct(f subnet.Family, peer *subnet.Lease) kernel.Route {
	r := Direct(n.Uplinks[f], peer.Subnets[f], peer.PublicIP[f])
	r.MTU = n.RouteMTU(f, peer, func(u Uplink) int { return u.MTU })
	return r
}

// Direct is the route to a peer's subnet on the uplink itself, without a tunnel.
func Direct(u Uplink, dst netip.Prefix, public netip.Addr) kernel.Route {
	return kernel.Route{Dst: dst.Masked(), Metric: Metric(dst), Via: public, Link: u.Link}
}

// Metric is the metric of a route to dst: the kernel's own default, which is how a route that flannel made is found
// again.
func Metric(dst netip.Prefix) uint32 {
	if subnet.FamilyOf(dst.Addr()) == subnet.Inet6 {
		return 1024 // IP6_RT_PRIO_USER
	}
	return 0
}

// Explain wraps err, why peer cannot be served, with the peer's subnets and the node's name where it has one.
func Explain(peer subnet.Lease, err error) error {
	if peer.Node == "" {
		return fmt.Errorf("peer %s: %w", peer.Subnets, err)
	}
	return fmt.Errorf("peer %s of node %s: %w", peer.Subnets, peer.Node, err)
}
