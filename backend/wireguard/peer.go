package wireguard

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// keepalive is how often something is sent, in seconds, where one side can reach the other only while it is in contact: most address
// translation forgets UDP after 30 seconds.
const keepalive = 25

// Peer adds a route to each subnet of the peer through our device, and makes the peer's public key the one that packets of
// the subnet are encrypted for and accepted from.
func (b Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	shared, err := n.Shared(&peer)
	if err != nil {
		return backend.Explain(peer, err)
	}
	var add kernel.State
	if b.mode == separate {
		err = b.addSeparate(&n, &peer, shared, &add)
	} else {
		err = b.addJoint(&n, &peer, shared, &add)
	}
	if err == nil {
		err = fit(s, &add)
	}
	if err != nil {
		return backend.Explain(peer, err)
	}
	if err := backend.Merge(s, add); err != nil {
		return backend.Explain(peer, err)
	}
	return nil
}

// addSeparate adds the peer to the device of each family.
func (b Backend) addSeparate(n *backend.Node, peer *subnet.Lease, shared [2]bool, add *kernel.State) error {
	var errs []error
	for _, f := range subnet.Families {
		if !shared[f] {
			continue
		}
		c, err := b.contact(n, f, peer)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
			continue
		}
		add.Routes.Add(b.route(n, f, peer))
		add.WireGuardPeers.Add(kernel.WireGuardPeer{
			Link: n.Mark.Device(b.devices[f]), PublicKey: c.key, PSK: b.psk, Keepalive: b.interval(n.Uplinks[f], peer.PublicIP[f]),
			Endpoints: kernel.EndpointText(c.endpoints(peer.PublicIP[f], b.ports[f])...), Allowed: kernel.AllowedText(peer.Subnets[f].Masked()),
		})
	}
	return errors.Join(errs...)
}

// addJoint adds the peer to the device of both families, once. As with flannel, the key of IPv6 counts where they differ.
func (b Backend) addJoint(n *backend.Node, peer *subnet.Lease, shared [2]bool, add *kernel.State) error {
	p := kernel.WireGuardPeer{Link: n.Mark.Device(b.devices[subnet.Inet]), PSK: b.psk}
	var contacts [2]contact
	var allowed []netip.Prefix
	var errs []error
	for _, f := range subnet.Families {
		if !shared[f] {
			continue
		}
		c, err := b.contact(n, f, peer)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
			continue
		}
		contacts[f], p.PublicKey = c, c.key
		allowed = append(allowed, peer.Subnets[f].Masked())
		add.Routes.Add(b.route(n, f, peer))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if peer.Node == "" && contacts[subnet.Inet].port != 0 {
		contacts[subnet.Inet6].port = contacts[subnet.Inet].port // flanneld tells ListenPortV6 there, at which it does not listen in these modes
	} else if peer.Node == "" {
		contacts[subnet.Inet6].port = 0
	}
	var endpoints []netip.AddrPort
	for _, f := range b.outer(n, peer) {
		c := contacts[f]
		if !shared[f] {
			c.port = max(contacts[subnet.Inet].port, contacts[subnet.Inet6].port) // there is one device alone
		}
		p.Keepalive = max(p.Keepalive, b.interval(n.Uplinks[f], peer.PublicIP[f]))
		endpoints = append(endpoints, c.endpoints(peer.PublicIP[f], b.ports[f])...)
	}
	if len(endpoints) == 0 {
		return fmt.Errorf("the peer has no address of the family that Mode %s needs", b.mode)
	}
	p.Endpoints, p.Allowed = kernel.EndpointText(endpoints...), kernel.AllowedText(allowed...)
	add.WireGuardPeers.Add(p)
	return nil
}

// outer returns the families by which the peer may be reached, the one to be tried first in front. Which that is in the mode auto is
// flannel's choice: IPv4 where the peer's address is a public one, IPv6 where those of both sides are, else IPv4.
func (b Backend) outer(n *backend.Node, peer *subnet.Lease) []subnet.Family {
	var can []subnet.Family
	for _, f := range subnet.Families {
		a := peer.PublicIP[f]
		if n.Uplinks[f].Valid() && a.IsGlobalUnicast() && subnet.FamilyOf(a) == f && (b.mode == auto || b.mode == [...]mode{byInet, byInet6}[f]) {
			can = append(can, f)
		}
	}
	if len(can) == 2 && peer.PublicIP[subnet.Inet].IsPrivate() &&
		!peer.PublicIP[subnet.Inet6].IsPrivate() && !n.Uplinks[subnet.Inet6].Public.IsPrivate() {
		return []subnet.Family{subnet.Inet6, subnet.Inet}
	}
	return can
}

// contact reads what the peer announces of family f.
func (b Backend) contact(n *backend.Node, f subnet.Family, peer *subnet.Lease) (contact, error) {
	c, err := parse(peer.Data[f])
	if err != nil {
		return contact{}, err
	}
	if own, err := PublicKey(n.WireGuardKey); err != nil {
		return contact{}, err
	} else if c.key == own {
		return contact{}, fmt.Errorf("PublicKey %s is this node's own: two nodes have one private key, as cloned machines do", c.key)
	}
	return c, nil
}

// endpoints are where the peer may be reached, the best first. port is the one of a peer that does not tell its own.
func (c contact) endpoints(public netip.Addr, port uint16) []netip.AddrPort {
	if c.port != 0 {
		port = c.port
	}
	list := []netip.AddrPort{netip.AddrPortFrom(public, port)}
	if c.internal.IsValid() && !c.internal.IsUnspecified() && c.internal.Is4() == public.Is4() {
		list = append(list, netip.AddrPortFrom(c.internal, port))
	}
	return list
}

// route is the route to the peer's subnet of family f.
func (b Backend) route(n *backend.Node, f subnet.Family, peer *subnet.Lease) kernel.Route {
	dst := peer.Subnets[f].Masked()
	return kernel.Route{Dst: dst, Metric: backend.Metric(dst), Link: n.Mark.Device(b.devices[f]), MTU: b.routeMTU(n, f, peer)}
}

// padding is what WireGuard fills packets up to a multiple of.
const padding = 16

// routeMTU is Node.RouteMTU, such that packets do not become larger by being filled up: that is done up to this node's own MTU
// where WireGuard is not the kernel's, and not up to the route's.
func (b Backend) routeMTU(n *backend.Node, f subnet.Family, peer *subnet.Lease) int {
	return n.RouteMTU(f, peer, b.MTU) &^ (padding - 1)
}

// interval is that of keepalives: what the config says, else one that keeps open a way that only one side can open.
func (b Backend) interval(u backend.Uplink, public netip.Addr) uint16 {
	if b.keepalive == 0 && u.Public.IsPrivate() != public.IsPrivate() {
		return keepalive
	}
	return b.keepalive
}

// fit tells whether s holds nothing else under the keys of add, which other peers would need.
func fit(s, add *kernel.State) error {
	known := true
	var faults []string
	for k, p := range add.WireGuardPeers {
		other, ok := s.WireGuardPeers[k]
		if ok && other != p {
			faults = append(faults, fmt.Sprintf("PublicKey %s is also that of the node at %s: two nodes have one private key", p.PublicKey, other.Endpoints))
		}
		known = known && ok
	}
	if len(faults) > 0 {
		return backend.FirstOf(faults)
	}
	for k, r := range add.Routes {
		// The routes of two peers to one subnet are the same, but only one of them can have what is sent there.
		if other, ok := s.Routes[k]; ok && (other != r || !known) {
			faults = append(faults, "the subnet is another peer's too: "+other.String())
		}
	}
	return backend.FirstOf(faults)
}
