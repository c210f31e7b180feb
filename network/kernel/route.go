package kernel

import (
	"context"
	"net/netip"

	"golang.org/x/sys/unix"
)

// rtaNexthopID (RTA_NH_ID) says that the next hop is an object of its own.
const rtaNexthopID = 30

// routeTypes are the kernel's numbers of the types of route.
var routeTypes = [...]uint8{
	Unicast:     unix.RTN_UNICAST,
	Unreachable: unix.RTN_UNREACHABLE,
	Blackhole:   unix.RTN_BLACKHOLE,
	Prohibit:    unix.RTN_PROHIBIT,
	Throw:       unix.RTN_THROW,
}

// parsedRoute is a route as the kernel describes it.
type parsedRoute struct {
	Route
	protocol uint8
	device   int
	other    bool // has something that Route cannot say: several next hops, a TOS, another table, type or encapsulation
}

// parseRoute reads the message of a route. Link is left for the caller to fill in. It reports false for bytes that are no route of the main table.
func parseRoute(b []byte) (r parsedRoute, ok bool) {
	if len(b) < sizeRoute {
		return r, false
	}
	family, length, table := b[0], int(b[1]), uint32(b[4])
	r.protocol = b[5]
	flags := getU32(b[8:])
	r.OnLink = flags&unix.RTNH_F_ONLINK != 0
	r.other = b[2] != 0 || b[3] != 0 || flags&unix.RTM_F_CLONED != 0 || !r.setType(b[7])
	dst := netip.IPv4Unspecified()
	if family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for kind, v := range attrs(b[sizeRoute:]) {
		switch kind {
		case unix.RTA_DST:
			dst = getAddr(v)
		case unix.RTA_GATEWAY:
			r.Via = getAddr(v)
		case unix.RTA_VIA:
			if len(v) > 2 {
				r.Via = getAddr(v[2:])
			}
		case unix.RTA_OIF:
			r.device = int(getU32(v))
		case unix.RTA_PRIORITY:
			r.Metric = getU32(v)
		case unix.RTA_PREFSRC:
			r.Src = getAddr(v)
		case unix.RTA_METRICS:
			r.setMetrics(v)
		case unix.RTA_TABLE:
			table = getU32(v)
		case unix.RTA_ENCAP_TYPE:
			r.other = r.other || getU16(v) != encapIP6
		case unix.RTA_ENCAP:
			r.Outer = parseOuter(v)
		case unix.RTA_MULTIPATH, rtaNexthopID:
			r.other = true
		}
	}
	r.Dst = netip.PrefixFrom(dst, length)
	return r, table == unix.RT_TABLE_MAIN && r.Dst.IsValid() && (family == unix.AF_INET || family == unix.AF_INET6)
}

func (r *parsedRoute) setType(number uint8) bool {
	for t, n := range routeTypes {
		if n == number {
			r.Type = RouteType(t)
			return true
		}
	}
	return false
}

func (r *parsedRoute) setMetrics(b []byte) {
	locked := false
	for kind, v := range attrs(b) {
		switch kind {
		case unix.RTAX_MTU:
			r.MTU = int(getU32(v))
		case unix.RTAX_LOCK:
			locked = getU32(v)&(1<<unix.RTAX_MTU) != 0
		}
	}
	r.Loose = r.MTU != 0 && !locked
}

// isOurs tells whether r is Weft's: by its protocol, or because it is flannel's, which is known by its device or by
// leading to exactly one subnet of the cluster, and becomes the first network's. It fills in Link and Foreign.
func (r *parsedRoute) isOurs(scope Scope, all devices) bool {
	if r.other || r.protocol != scope.mark.Protocol() && (r.protocol != unix.RTPROT_BOOT || scope.mark != Mark{}) {
		return false
	}
	if r.Type == Unicast { // IPv6 routes of the other types have loopback as their device
		d, ok := all[r.device]
		if !ok {
			return false
		}
		r.Link = d.name
	}
	if r.protocol == scope.mark.Protocol() {
		return true
	}
	r.Foreign = true
	return r.Type == Unicast && all[r.device].isOurs() ||
		(r.Via.IsValid() || r.Type != Unicast) && scope.isSubnet(r.Dst)
}

// isSubnet tells whether p is exactly one subnet of the cluster.
func (s Scope) isSubnet(p netip.Prefix) bool {
	for _, n := range s.Networks {
		if p.Bits() == n.SubnetLen && n.Prefix.Bits() <= p.Bits() && n.Prefix.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// routes lists our routes of one family and protocol. The kernel leaves the others out where it can.
func (s *socket) routes(ctx context.Context, family, protocol uint8, scope Scope, all devices) ([]Route, error) {
	var list []Route
	err := s.list(ctx, listing{
		what: "routes",
		request: func(w *writer) {
			w.begin(unix.RTM_GETROUTE, 0)
			w.raw(family, 0, 0, 0, unix.RT_TABLE_MAIN, protocol, 0, 0, 0, 0, 0, 0)
			w.u32(unix.RTA_TABLE, unix.RT_TABLE_MAIN)
		},
		restart: func() { list = list[:0] },
		each: func(kind uint16, b []byte) {
			if len(b) < sizeRoute || b[0] != family || b[5] != protocol || kind != unix.RTM_NEWROUTE {
				return
			}
			if r, ok := parseRoute(b); ok && r.isOurs(scope, all) {
				list = append(list, r.Route)
			}
		},
	})
	return list, err
}

// encodeRoute appends the request to make or take away r, of that protocol where it is not flannel's. device is the index of r.Link.
func encodeRoute(w *writer, kind, flags uint16, protocol uint8, r Route, device int) {
	w.begin(kind, flags)
	family, scope := uint8(unix.AF_INET), uint8(unix.RT_SCOPE_UNIVERSE)
	if r.Dst.Addr().Is6() {
		family = unix.AF_INET6
	}
	switch {
	case kind == unix.RTM_DELROUTE:
		scope = unix.RT_SCOPE_NOWHERE // any
	case family == unix.AF_INET && r.Type == Unicast && !r.Via.IsValid():
		scope = unix.RT_SCOPE_LINK
	}
	if r.Foreign {
		protocol = unix.RTPROT_BOOT
	}
	w.raw(family, uint8(r.Dst.Bits()), 0, 0, unix.RT_TABLE_MAIN, protocol, scope, routeTypes[r.Type])
	var nexthop uint32
	if r.OnLink {
		nexthop = unix.RTNH_F_ONLINK
	}
	w.u32raw(nexthop)
	w.addr(unix.RTA_DST, r.Dst.Addr())
	if r.Metric != 0 {
		w.u32(unix.RTA_PRIORITY, r.Metric)
	}
	if r.Type == Unicast {
		w.u32(unix.RTA_OIF, uint32(device))
	}
	if r.Via.IsValid() {
		encodeVia(w, r)
	}
	if r.Src.IsValid() {
		w.addr(unix.RTA_PREFSRC, r.Src)
	}
	if r.Outer != (Outer{}) && kind == unix.RTM_NEWROUTE {
		encodeOuter(w, r.Outer)
	}
	if r.MTU != 0 && kind == unix.RTM_NEWROUTE {
		metrics := w.nest(unix.RTA_METRICS)
		w.u32(unix.RTAX_LOCK, 1<<unix.RTAX_MTU) // or IPv6 forwards whatever the device takes (ip6_dst_mtu_maybe_forward)
		w.u32(unix.RTAX_MTU, uint32(r.MTU))
		w.unnest(metrics)
	}
}

// encodeVia appends the gateway, which may be of the other family (RFC 5549).
func encodeVia(w *writer, r Route) {
	if r.Via.Is4() == r.Dst.Addr().Is4() {
		w.addr(unix.RTA_GATEWAY, r.Via)
		return
	}
	a := r.Via.As16()
	w.attr(unix.RTA_VIA, append([]byte{unix.AF_INET6, 0}, a[:]...))
}
