// Package ipip is the backend that puts a second IP header in front of pods' packets: IPv4 in IPv4, and IPv6 in IPv6.
// There is one device for each address family, and one route for each peer in the form that flannel gives it, so that
// either agent can take over from the other. It knows what the kernel should hold, and refuses to know how it gets
// there.
package ipip

import (
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json and in leases.
const Kind = "ipip"

// Lengths of the headers of IP, and the numbers by which they say that another one follows (RFC 2003, RFC 2473).
const (
	overheadInet  = 20
	overheadInet6 = 40
	protocolInet  = 4
	protocolInet6 = 41
)

// Backend is the ipip backend with its checked config. The zero Backend has the defaults.
type Backend struct {
	directRouting bool
}

var (
	_ backend.Backend = Backend{}
	_ backend.Carrier = Backend{}
)

// New checks config, the Backend object of net-conf.json. The error joins all mistakes; the warnings name keys that
// are not known.
func New(config string) (Backend, []string, error) {
	r := backend.Read(config)
	b := Backend{directRouting: r.Bool("DirectRouting")}
	warnings, err := r.Done()
	if err != nil {
		return Backend{}, warnings, err
	}
	return b, warnings, nil
}

// device returns the name of the device of family f: for IPv4 it is flannel's.
func device(f subnet.Family) string {
	if f == subnet.Inet6 {
		return "flannel-v6.ipip"
	}
	return "flannel.ipip"
}

// Attrs announces the public addresses alone.
func (b Backend) Attrs(n backend.Node) (subnet.Attrs, error) {
	return n.AnnounceTunnels(Kind, n.TunnelCheck(Kind, b))
}

// Base adds the device of each family and its address, the first of the node's subnet, as a host address, so that no
// route to the subnet comes with it. That of IPv4 has a local address, because packets for a tunnel without one would
// go to tunl0, which the kernel makes by itself. None is bound to an uplink: outer packets go as routes say.
func (b Backend) Base(n backend.Node, own subnet.Lease, s *kernel.State) error {
	return n.AddTunnels(&own, s, n.TunnelCheck(Kind, b), func(f subnet.Family) kernel.Link {
		u := n.Uplinks[f]
		tunnel := kernel.Tunnel{Local: u.Addr}
		if f == subnet.Inet6 {
			tunnel.Local = netip.IPv6Unspecified()
		}
		return kernel.Link{Name: n.Mark.Device(device(f)), MTU: b.MTU(u), Up: true, Tunnel: tunnel}
	})
}

// Peer adds, for each family, a route to the peer's subnet through our device, which says where the outer packets go: by
// its gateway, as flannel's does, or in IPv6 by itself. With DirectRouting a peer on the uplink's own link gets a plain route instead.
func (b Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	return n.AddPeer(&peer, s, func(f subnet.Family, more *kernel.State) error {
		r := b.route(&n, f, &peer)
		if other, ok := s.Routes[r.Key()]; ok && other != r {
			return fmt.Errorf("%s: the subnet is another peer's too: %s", f, other)
		}
		more.Routes.Add(r)
		return nil
	})
}

// route returns the route to the peer in family f.
func (b Backend) route(n *backend.Node, f subnet.Family, peer *subnet.Lease) kernel.Route {
	if b.directRouting && n.Uplinks[f].Reaches(peer.PublicIP[f]) {
		return n.Direct(f, peer)
	}
	dst := peer.Subnets[f].Masked()
	r := kernel.Route{Dst: dst, Metric: backend.Metric(dst), Link: n.Mark.Device(device(f)), MTU: n.RouteMTU(f, peer, b.MTU)}
	if f == subnet.Inet6 {
		r.Outer = kernel.Outer{Dst: peer.PublicIP[f], Src: n.Uplinks[f].Addr}
	} else {
		r.Via, r.OnLink = peer.PublicIP[f], true
	}
	return r
}

// Overhead is 20 bytes over IPv4 and 40 over IPv6.
func (Backend) Overhead(outer netip.Addr) int {
	if subnet.FamilyOf(outer) == subnet.Inet6 {
		return overheadInet6
	}
	return overheadInet
}

// MTU is the uplink's less the overhead.
func (b Backend) MTU(u backend.Uplink) int { return u.MTU - b.Overhead(u.Addr) }

// Ports are none.
func (Backend) Ports() []uint16 { return nil }

// Protocol is 4, IPv4 in IP, or 41, IPv6 in IP.
func (Backend) Protocol(f subnet.Family) uint8 {
	if f == subnet.Inet6 {
		return protocolInet6
	}
	return protocolInet
}
