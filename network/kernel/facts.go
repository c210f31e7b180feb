package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Facts are what the choice of the uplink needs to know of the host.
type Facts struct {
	Devices  []Device       // by index
	Defaults []DefaultRoute // of the main table, by family and metric
}

// Device is a network device of the host.
type Device struct {
	Name     string
	Index    int
	MTU      int
	Up       bool // set up by its owner; it may have no carrier
	Loopback bool
	Kind     string // "vxlan", "veth", "bridge", ...; "" for hardware
	Ours     bool   // one of Weft's own
	// Addrs are the addresses that others can reach the host by, in the kernel's order of preference: of global scope, unmasked. Left
	// out are those that duplicate detection has not cleared, and IPv6's temporary ones. Deprecated ones are there only where the
	// device has no other of the family.
	Addrs []netip.Prefix
}

// DefaultRoute is a route to everywhere. A route with several next hops is one DefaultRoute for each.
type DefaultRoute struct {
	Dst    netip.Prefix // 0.0.0.0/0 or ::/0: tells the family
	Link   string
	Via    netip.Addr // gateway; invalid where there is none
	Src    netip.Addr // preferred source; invalid where the kernel chooses
	Metric uint32
}

// Facts looks at the host's devices, their addresses and its default routes.
func (k *Kernel) Facts(ctx context.Context) (Facts, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var f Facts
	all, err := k.socket.devices(ctx)
	if err != nil {
		return f, err
	}
	byIndex := map[int][]parsedAddr{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		addrs, err := k.socket.addrs(ctx, family, 0)
		if err != nil {
			return f, err
		}
		for _, a := range addrs {
			byIndex[a.device] = append(byIndex[a.device], a)
		}
		if f.Defaults, err = k.socket.defaults(ctx, family, all, f.Defaults); err != nil {
			return f, err
		}
	}
	for i, d := range all {
		f.Devices = append(f.Devices, Device{
			Name:     d.name,
			Index:    i,
			MTU:      d.mtu,
			Up:       d.up(),
			Loopback: d.flags&unix.IFF_LOOPBACK != 0,
			Kind:     d.kind,
			Ours:     d.isOurs(),
			Addrs:    usable(byIndex[i]),
		})
	}
	slices.SortFunc(f.Devices, func(x, y Device) int { return cmp.Compare(x.Index, y.Index) })
	return f, nil
}

// isUsable tells whether others can reach the host by the address.
func (a parsedAddr) isUsable() bool {
	if a.scope != unix.RT_SCOPE_UNIVERSE || a.flags&unix.IFA_F_DADFAILED != 0 {
		return false
	}
	if a.flags&unix.IFA_F_TENTATIVE != 0 && a.flags&unix.IFA_F_OPTIMISTIC == 0 {
		return false
	}
	// The same bit means secondary in IPv4, where such an address is as good as any.
	return a.prefix.Addr().Is4() || a.flags&unix.IFA_F_TEMPORARY == 0
}

// usable returns those of addrs that others can reach the host by. Deprecated ones count only where their family has no other.
func usable(addrs []parsedAddr) []netip.Prefix {
	var good, old []netip.Prefix
	for _, a := range addrs {
		switch {
		case !a.isUsable():
		case a.flags&unix.IFA_F_DEPRECATED != 0:
			old = append(old, a.prefix)
		default:
			good = append(good, a.prefix)
		}
	}
	fresh := slices.Clone(good)
	for _, p := range old {
		sameFamily := func(q netip.Prefix) bool { return q.Addr().Is4() == p.Addr().Is4() }
		if !slices.ContainsFunc(fresh, sameFamily) {
			good = append(good, p)
		}
	}
	return good
}

// defaults appends the default routes of one family to list, by metric.
func (s *socket) defaults(ctx context.Context, family uint8, all devices, list []DefaultRoute) ([]DefaultRoute, error) {
	before := len(list)
	err := s.list(ctx, listing{
		what: "default routes",
		request: func(w *writer) {
			w.begin(unix.RTM_GETROUTE, 0)
			w.raw(family, 0, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_UNICAST, 0, 0, 0, 0)
			w.u32(unix.RTA_TABLE, unix.RT_TABLE_MAIN)
		},
		restart: func() { list = list[:before] },
		each: func(_ uint16, b []byte) {
			if isDefault(b) && b[0] == family {
				list = appendDefault(list, b, all)
			}
		},
	})
	slices.SortStableFunc(list[before:], func(x, y DefaultRoute) int { return cmp.Compare(x.Metric, y.Metric) })
	return list, err
}

// isDefault tells from the fixed part of a route's message whether it leads everywhere. It has to be cheap: a host may
// have a million others.
func isDefault(b []byte) bool {
	return len(b) >= sizeRoute && b[1] == 0 && b[4] == unix.RT_TABLE_MAIN && b[7] == unix.RTN_UNICAST
}

func appendDefault(list []DefaultRoute, b []byte, all devices) []DefaultRoute {
	r, ok := parseRoute(b)
	if !ok {
		return list
	}
	d := DefaultRoute{Dst: r.Dst, Link: all[r.device].name, Via: r.Via, Src: r.Src, Metric: r.Metric}
	if d.Link != "" {
		return append(list, d)
	}
	for kind, v := range attrs(b[sizeRoute:]) {
		if kind == unix.RTA_MULTIPATH {
			list = appendHops(list, d, v, all)
		}
	}
	return list
}

// appendHops appends d once for each next hop in b.
func appendHops(list []DefaultRoute, d DefaultRoute, b []byte, all devices) []DefaultRoute {
	for len(b) >= unix.SizeofRtNexthop {
		size := int(getU16(b))
		if size < unix.SizeofRtNexthop || size > len(b) {
			return list
		}
		d.Link, d.Via = all[int(getU32(b[4:]))].name, netip.Addr{}
		for kind, v := range attrs(b[unix.SizeofRtNexthop:size]) {
			if kind == unix.RTA_GATEWAY {
				d.Via = getAddr(v)
			}
		}
		if d.Link != "" {
			list = append(list, d)
		}
		b = b[min(align(size), len(b)):]
	}
	return list
}

// RouteTo asks by which device packets to a leave the host, and with which source address. The error satisfies
// errors.Is(err, unix.ENETUNREACH) where there is no route.
func (k *Kernel) RouteTo(ctx context.Context, a netip.Addr) (link string, src netip.Addr, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return "", src, errors.New("find the route to no address at all")
	}
	all, err := k.socket.devices(ctx)
	if err != nil {
		return "", src, err
	}
	err = k.socket.ask(func(w *writer) {
		w.begin(unix.RTM_GETROUTE, 0)
		w.raw(familyOf(a), uint8(a.BitLen()), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		w.addr(unix.RTA_DST, a)
	}, func(b []byte) {
		if len(b) < sizeRoute {
			return
		}
		for kind, v := range attrs(b[sizeRoute:]) {
			switch kind {
			case unix.RTA_OIF:
				link = all[int(getU32(v))].name
			case unix.RTA_PREFSRC:
				src = getAddr(v)
			}
		}
	})
	if err == nil && link == "" {
		err = unix.ENETUNREACH
	}
	if err != nil {
		return "", netip.Addr{}, fmt.Errorf("find the route to %s: %w", a, err)
	}
	return link, src, nil
}
