package kernel

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Tunnel are the properties of a tunnel of IP in IP to many ends: the outer packet goes to the gateway of the inner one's route. It is
// IPv4 in IPv4 where Local is of IPv4, else IPv6 in IPv6.
type Tunnel struct {
	Local  netip.Addr // source address of the outer packets; as listed it may be unspecified, never invalid
	Parent string     // name of the uplink that outer packets leave by; "" leaves that to routes
}

// Attributes of tunnels of IP in IP (linux/if_tunnel.h), and the flag of one that adds no option to outer packets.
const (
	iptunLink            = 1
	iptunLocal           = 2
	iptunRemote          = 3
	iptunFlags           = 8
	iptunProto           = 9
	iptunPMTUDisc        = 10
	iptunCollectMetadata = 19

	ignoreEncapLimit = 1 // IP6_TNL_F_IGN_ENCAP_LIMIT
)

func parseIPIP(d *device, data []byte) {
	parseTunnel(d, data, netip.IPv4Unspecified(), unix.IPPROTO_IPIP)
}

func parseIP6IP6(d *device, data []byte) {
	parseTunnel(d, data, netip.IPv6Unspecified(), unix.IPPROTO_IPV6)
	flags := uint32(0)
	for kind, v := range attrs(data) {
		if kind == iptunFlags {
			flags = getU32(v)
		}
	}
	d.odd = d.odd || flags&ignoreEncapLimit == 0
}

// parseTunnel reads what both kinds have in common. A tunnel to one remote end, or of another protocol, is odd: routes
// to many peers cannot use it.
func parseTunnel(d *device, data []byte, local netip.Addr, protocol uint8) {
	for kind, v := range attrs(data) {
		switch kind {
		case iptunLink:
			d.parent = int(getU32(v))
		case iptunLocal:
			local = getAddr(v)
		case iptunRemote:
			d.odd = d.odd || !getAddr(v).IsUnspecified()
		case iptunProto:
			d.odd = d.odd || len(v) != 1 || v[0] != protocol
		case iptunCollectMetadata:
			d.odd = true
		}
	}
	d.as.Tunnel.Local = local
}

// encodeIPIP appends the properties. The kernel forgets those that a change does not name. The time to live and
// whether a packet may be cut on its way are the inner packet's, as flannel's device has them.
func encodeIPIP(w *writer, l Link, parent int, _ bool) {
	w.addr(iptunLocal, l.Tunnel.Local)
	w.u32(iptunLink, uint32(parent))
	w.u8(iptunPMTUDisc, 0)
}

// encodeIP6IP6 is encodeIPIP for IPv6. The option that limits nesting would take 8 bytes of each packet.
func encodeIP6IP6(w *writer, l Link, parent int, _ bool) {
	w.addr(iptunLocal, l.Tunnel.Local)
	w.u32(iptunLink, uint32(parent))
	w.u8(iptunProto, unix.IPPROTO_IPV6)
	w.u32(iptunFlags, ignoreEncapLimit)
}

// areTunnelRivals: the kernel allows one tunnel between two ends.
func areTunnelRivals(x, y Link) bool { return x.Tunnel == y.Tunnel }
