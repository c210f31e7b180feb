// Package udp is the backend that carries each packet of the pods in a UDP datagram of its own, as flannel's backend of
// that name does: a TUN device for each address family, a route to it for each peer, and where the peer's packets go. It needs nothing of the
// kernel but TUN. It knows what should be there, and refuses to know who moves the packets.
package udp

import (
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json and in leases.
const Kind = "udp"

// What the headers in front of a pod's packet add up to: UDP (8), and IP.
const (
	overheadInet  = 8 + 20
	overheadInet6 = 8 + 40
)

// Backend is the udp backend with its checked config. The zero Backend is not of use; New makes one.
type Backend struct {
	port    uint16
	devices [2]string // their names; that of IPv4 is flannel's
}

var (
	_ backend.Backend = Backend{}
	_ backend.Renamer = Backend{}
)

// New checks config, the Backend object of net-conf.json. The error joins all mistakes; the warnings name keys that
// are not known.
func New(config string) (Backend, []string, error) {
	r := backend.Read(config)
	b := Backend{port: uint16(r.Int("Port", 8285, 1, 1<<16-1))}
	warnings, err := r.Done()
	if err != nil {
		return Backend{}, warnings, err
	}
	b.name("")
	return b, warnings, nil
}

func (b *Backend) name(suffix string) {
	b.devices = [2]string{subnet.Inet: "flannel0" + suffix, subnet.Inet6: "flannel-v6.0" + suffix}
}

// Renamed returns the backend with suffix at the end of its devices' names, so that it can be there beside another with another port.
func (b Backend) Renamed(suffix string) backend.Backend {
	b.name(suffix)
	return b
}

// Agreed names what all nodes must have in common to reach each other.
func (b Backend) Agreed() string { return fmt.Sprintf("port %d", b.port) }

// Attrs announces the public addresses alone.
func (b Backend) Attrs(n backend.Node) (subnet.Attrs, error) {
	return n.AnnounceTunnels(Kind, n.TunnelCheck(Kind, b))
}

// Base adds the device of each family, its address, the first of the node's subnet, as a host address, and that what arrives
// at the port goes into the device.
func (b Backend) Base(n backend.Node, own subnet.Lease, s *kernel.State) error {
	return n.AddTunnels(&own, s, n.TunnelCheck(Kind, b), func(f subnet.Family) kernel.Link {
		u := n.Uplinks[f]
		s.Datagrams.Add(kernel.Datagram{Link: n.Mark.Device(b.devices[f]), Local: netip.AddrPortFrom(u.Addr, b.port), Subnet: own.Subnets[f].Masked()})
		return kernel.Link{Name: n.Mark.Device(b.devices[f]), MTU: b.MTU(u), Up: true, TUN: true}
	})
}

// Peer adds for each family a route to the peer's subnet by the device, and where the packets go from there.
func (b Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	return n.AddPeer(&peer, s, func(f subnet.Family, more *kernel.State) error {
		dst, link := peer.Subnets[f].Masked(), n.Mark.Device(b.devices[f])
		more.Routes.Add(kernel.Route{Dst: dst, Metric: backend.Metric(dst), Link: link, MTU: n.RouteMTU(f, &peer, b.MTU)})
		more.Datagrams.Add(kernel.Datagram{Link: link, Local: netip.AddrPortFrom(n.Uplinks[f].Addr, b.port), Subnet: dst,
			Remote: netip.AddrPortFrom(peer.PublicIP[f], b.port)})
		return nil
	})
}

// Overhead is 28 bytes over IPv4 and 48 over IPv6.
func (b Backend) Overhead(outer netip.Addr) int {
	if subnet.FamilyOf(outer) == subnet.Inet6 {
		return overheadInet6
	}
	return overheadInet
}

// MTU is the uplink's less the overhead.
func (b Backend) MTU(u backend.Uplink) int { return u.MTU - b.Overhead(u.Addr) }

// Ports is the port that peers' packets arrive at.
func (b Backend) Ports() []uint16 { return []uint16{b.port} }
