package udp

import (
	"net"
	"net/netip"
	"slices"

	"github.com/weft-network/weft/network/kernel"
)

// table says where packets go from one device. It is never changed.
type table struct {
	self   netip.Addr // the device's own address, from which it complains; invalid where that is not known
	bits   []int      // lengths of the prefixes in routes, the longest first
	routes map[netip.Prefix]*route
}

// route is the way to one subnet.
type route struct {
	subnet netip.Prefix
	socket *socket
	remote *net.UDPAddr
}

// newTable makes the table of the device link out of all datagrams. Of two for one subnet, which there are while nodes change
// to another port, that with the larger key counts.
func newTable(link string, all kernel.Set[kernel.DatagramKey, kernel.Datagram], sockets map[netip.AddrPort]*socket) *table {
	t := &table{routes: map[netip.Prefix]*route{}}
	best := map[netip.Prefix]netip.AddrPort{}
	for _, d := range all {
		if d.Link != link {
			continue
		}
		if !d.Remote.IsValid() {
			t.self = d.Subnet.Addr()
			continue
		}
		if other, ok := best[d.Subnet]; ok && other.Compare(d.Local) > 0 {
			continue
		}
		best[d.Subnet] = d.Local
		t.routes[d.Subnet] = &route{d.Subnet, sockets[d.Local], net.UDPAddrFromAddrPort(d.Remote)}
		if !slices.Contains(t.bits, d.Subnet.Bits()) {
			t.bits = append(t.bits, d.Subnet.Bits())
		}
	}
	slices.SortFunc(t.bits, func(a, b int) int { return b - a })
	return t
}

// lookup returns the way to a, by the longest prefix that contains it; nil where there is none.
func (t *table) lookup(a netip.Addr) *route {
	for _, bits := range t.bits {
		p, err := a.Prefix(bits)
		if err != nil {
			continue // of the other family
		}
		if r, ok := t.routes[p]; ok {
			return r
		}
	}
	return nil
}
