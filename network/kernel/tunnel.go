package kernel

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Tunnel are the properties of a tunnel of IP in IP to many ends.
//
// In IPv4 the outer packet goes to the gateway of the inner one's route, as flannel's do. In IPv6 the kernel takes no
// gateway on a tunnel that it could reach by another device as well, as nodes on one link can; so there the device asks the
// route: see Outer.
type Tunnel struct {
	Local  netip.Addr // IPv4: source address of the outer packets, as listed maybe unspecified. IPv6: unspecified
	Parent string     // IPv4: name of the uplink that outer packets leave by; "" leaves that to routes
}

// Outer are the addresses of the outer packets into which those on a route are put by an IPv6 Tunnel. The zero Outer is none.
type Outer struct {
	Dst, Src netip.Addr
}

// Attributes of tunnels of IP in IP (linux/if_tunnel.h) and of routes that say where tunnels lead (linux/lwtunnel.h).
const (
	iptunLink            = 1
	iptunLocal           = 2
	iptunRemote          = 3
	iptunProto           = 9
	iptunPMTUDisc        = 10
	iptunCollectMetadata = 19

	encapIP6    = 4 // LWTUNNEL_ENCAP_IP6
	encapIP6Dst = 2
	encapIP6Src = 3
)

// parseIPIP reads the properties. A tunnel to one remote end, of another protocol, or that is told by routes where packets
// go, is odd.
func parseIPIP(d *device, data []byte) {
	d.as.Tunnel.Local = netip.IPv4Unspecified()
	for kind, v := range attrs(data) {
		switch kind {
		case iptunLink:
			d.parent = int(getU32(v))
		case iptunLocal:
			d.as.Tunnel.Local = getAddr(v)
		case iptunRemote:
			d.odd = d.odd || !getAddr(v).IsUnspecified()
		case iptunProto:
			d.odd = d.odd || !isProtocol(v, unix.IPPROTO_IPIP)
		case iptunCollectMetadata:
			d.odd = true
		}
	}
}

// parseIP6IP6 reads the properties. A tunnel that routes do not tell where packets go, or of another protocol, is odd.
func parseIP6IP6(d *device, data []byte) {
	d.as.Tunnel.Local = netip.IPv6Unspecified()
	byRoutes := false
	for kind, v := range attrs(data) {
		switch kind {
		case iptunProto:
			d.odd = d.odd || !isProtocol(v, unix.IPPROTO_IPV6)
		case iptunCollectMetadata:
			byRoutes = true
		}
	}
	d.odd = d.odd || !byRoutes
}

// isProtocol tells whether a tunnel carries this protocol: that alone, or as flannel's any.
func isProtocol(v []byte, protocol uint8) bool { return len(v) == 1 && (v[0] == protocol || v[0] == 0) }

// encodeIPIP appends the properties. The kernel forgets those that a change does not name. The time to live and
// whether a packet may be cut on its way are the inner packet's, as flannel's device has them.
func encodeIPIP(w *writer, l Link, parent int, _ bool) {
	w.addr(iptunLocal, l.Tunnel.Local)
	w.u32(iptunLink, uint32(parent))
	w.u8(iptunPMTUDisc, 0)
}

// encodeIP6IP6 appends the properties of a new device; there are none that can be changed.
func encodeIP6IP6(w *writer, _ Link, _ int, _ bool) {
	w.u8(iptunProto, unix.IPPROTO_IPV6)
	w.attr(iptunCollectMetadata, nil)
}

// areTunnelRivals: the kernel allows one tunnel between two ends, and one that is told by routes where packets go.
func areTunnelRivals(x, y Link) bool { return x.Tunnel == y.Tunnel }

func parseOuter(b []byte) (o Outer) {
	for kind, v := range attrs(b) {
		switch kind {
		case encapIP6Dst:
			o.Dst = getAddr(v)
		case encapIP6Src:
			o.Src = getAddr(v)
		}
	}
	return o
}

func encodeOuter(w *writer, o Outer) {
	var kind [2]byte
	binary.NativeEndian.PutUint16(kind[:], encapIP6)
	w.attr(unix.RTA_ENCAP_TYPE, kind[:])
	encap := w.nest(unix.RTA_ENCAP)
	w.addr(encapIP6Dst, o.Dst)
	w.addr(encapIP6Src, o.Src)
	w.unnest(encap)
}
