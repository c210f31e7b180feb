package kernel

import (
	"context"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// parsedNeigh is a neighbour or an FDB entry as the kernel describes it: both come in the same message.
type parsedNeigh struct {
	family uint8
	device int
	ip     netip.Addr // of an FDB entry: where frames go to; invalid where nowhere or in a special manner
	mac    MAC
	ours   bool // the kind that Weft makes: permanent, with a MAC, and on the device itself

	// repeated is an FDB entry that kernels before 6.14 announce a second time, without saying where frames go to (rtnl_fdb_notify): the
	// device's own announcement and listing have a time of last use, and that one has none.
	repeated bool
}

func parseNeigh(b []byte) (n parsedNeigh, ok bool) {
	if len(b) < sizeNeigh {
		return n, false
	}
	n.family, n.device = b[0], int(int32(getU32(b[4:])))
	state, flags := binary.NativeEndian.Uint16(b[8:]), b[10]
	n.ours = state&unix.NUD_PERMANENT != 0 && flags&unix.NTF_PROXY == 0
	n.repeated = n.family == unix.AF_BRIDGE
	hasMAC, special := false, false
	for kind, v := range attrs(b[sizeNeigh:]) {
		switch kind {
		case unix.NDA_DST:
			n.ip = getAddr(v)
		case unix.NDA_LLADDR:
			n.mac, hasMAC = getMAC(v), true
		case unix.NDA_MASTER:
			n.ours = n.ours && n.family != unix.AF_BRIDGE // an entry of a bridge about one of its ports
		case unix.NDA_PORT, unix.NDA_VNI, unix.NDA_IFINDEX:
			special = true
		case unix.NDA_CACHEINFO:
			n.repeated = false
		}
	}
	if n.family == unix.AF_BRIDGE {
		n.ours = n.ours && flags&unix.NTF_SELF != 0 && (n.ip.IsValid() || special)
		if special {
			n.ip = netip.Addr{}
		}
	}
	n.ours = n.ours && hasMAC && (n.ip.IsValid() || special)
	return n, n.family == unix.AF_BRIDGE || n.ip.IsValid()
}

// neighs lists the permanent entries of one device: neighbours of both families, or with family AF_BRIDGE its FDB.
func (s *socket) neighs(ctx context.Context, family uint8, index int) ([]parsedNeigh, error) {
	var list []parsedNeigh
	err := s.list(ctx, listing{
		what: "neighbours",
		request: func(w *writer) {
			w.begin(unix.RTM_GETNEIGH, 0)
			w.raw(family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
			w.u32(unix.NDA_IFINDEX, uint32(index))
		},
		restart: func() { list = list[:0] },
		each: func(kind uint16, b []byte) {
			n, ok := parseNeigh(b)
			if ok && n.ours && n.device == index && n.family == family && kind == unix.RTM_NEWNEIGH {
				list = append(list, n)
			}
		},
	})
	return list, err
}

// encodeNeigh appends the request to make or take away a neighbour (family AF_INET, AF_INET6) or FDB entry (AF_BRIDGE).
func encodeNeigh(w *writer, kind, flags uint16, family uint8, index int, ip netip.Addr, mac MAC) {
	w.begin(kind, flags)
	var own uint8
	if family == unix.AF_BRIDGE {
		own = unix.NTF_SELF
	}
	w.raw(family, 0, 0, 0)
	w.u32raw(uint32(index))
	w.u16raw(unix.NUD_PERMANENT)
	w.raw(own, 0)
	if ip.IsValid() {
		w.addr(unix.NDA_DST, ip)
	}
	if family == unix.AF_BRIDGE || kind == unix.RTM_NEWNEIGH {
		w.attr(unix.NDA_LLADDR, mac[:])
	}
}

// familyOf returns the kernel's number of the family of a.
func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// parsedAddr is an address of a device as the kernel describes it.
type parsedAddr struct {
	device int
	prefix netip.Prefix
	flags  uint32
	scope  uint8
}

func parseAddr(b []byte) (a parsedAddr, ok bool) {
	if len(b) < sizeAddr {
		return a, false
	}
	a.flags, a.scope, a.device = uint32(b[2]), b[3], int(getU32(b[4:]))
	var ip netip.Addr
	for kind, v := range attrs(b[sizeAddr:]) {
		switch kind {
		case unix.IFA_LOCAL:
			ip = getAddr(v)
		case unix.IFA_ADDRESS: // of the other end where there is an IFA_LOCAL too
			if !ip.IsValid() {
				ip = getAddr(v)
			}
		case unix.IFA_FLAGS:
			a.flags = getU32(v)
		}
	}
	a.prefix = netip.PrefixFrom(ip, int(b[1]))
	return a, a.prefix.IsValid()
}

// isOurs tells whether the address, on one of our devices, was given by somebody rather than made by the kernel.
func (a parsedAddr) isOurs() bool {
	return a.scope != unix.RT_SCOPE_HOST && (a.prefix.Addr().Is4() || a.scope != unix.RT_SCOPE_LINK)
}

// addrs lists the addresses of one family, of one device or with index 0 of all.
func (s *socket) addrs(ctx context.Context, family uint8, index int) ([]parsedAddr, error) {
	var list []parsedAddr
	err := s.list(ctx, listing{
		what: "addresses",
		request: func(w *writer) {
			w.begin(unix.RTM_GETADDR, 0)
			w.raw(family, 0, 0, 0)
			w.u32raw(uint32(index))
		},
		restart: func() { list = list[:0] },
		each: func(kind uint16, b []byte) {
			a, ok := parseAddr(b)
			if ok && b[0] == family && (index == 0 || a.device == index) && kind == unix.RTM_NEWADDR {
				list = append(list, a)
			}
		},
	})
	return list, err
}

// encodeAddr appends the request to make or take away an address.
func encodeAddr(w *writer, kind, flags uint16, a Addr, index int) {
	w.begin(kind, flags)
	ip := a.Prefix.Addr()
	var option uint8
	if ip.Is6() {
		option = unix.IFA_F_NODAD // nobody else can have it, and routes may need it at once
	}
	w.raw(familyOf(ip), uint8(a.Prefix.Bits()), option, unix.RT_SCOPE_UNIVERSE)
	w.u32raw(uint32(index))
	w.addr(unix.IFA_LOCAL, ip)
	w.addr(unix.IFA_ADDRESS, ip)
}
