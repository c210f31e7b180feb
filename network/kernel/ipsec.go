package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// IPsec reads what the kernel holds for associations, in one network namespace. Make it with OpenIPsec. Its methods may not be called
// at the same time.
type IPsec struct{ s *socket }

// OpenIPsec opens the network namespace of the calling thread.
func OpenIPsec() (*IPsec, error) {
	s, err := openSocketOf(unix.NETLINK_XFRM)
	if err != nil {
		return nil, fmt.Errorf("open the kernel's IPsec: %w", err)
	}
	return &IPsec{s}, nil
}

// Close closes it. Nothing of the kernel's changes.
func (i *IPsec) Close() error { return i.s.conn.Close() }

// Direction is the one of the packets that a policy is about.
type Direction uint8

// The directions, as the kernel numbers them.
const (
	In Direction = iota
	Out
	Through
)

// Policy says that packets of a device are to be encrypted, or must have been.
type Policy struct {
	ID       uint32 // of the device
	Dir      Direction
	Src, Dst netip.Prefix
}

// Policy returns the one that an association has in a direction, once there are keys. Out is there before.
func (a Association) Policy(dir Direction) Policy {
	if dir == Out {
		return Policy{a.ID, dir, a.Own, a.Peer}
	}
	return Policy{a.ID, dir, a.Peer, a.Own}
}

// IPsecState is what the kernel holds for associations.
type IPsecState struct {
	SPIs     map[uint32]bool // those of the keys for packets, in both directions
	Policies map[Policy]bool
}

// List returns what the kernel holds, for whomever.
func (i *IPsec) List(ctx context.Context) (held IPsecState, err error) {
	err = i.s.list(ctx, listing{
		what:    "IPsec states",
		request: func(w *writer) { w.begin(xfrmGetState, 0) },
		restart: func() { held.SPIs = map[uint32]bool{} },
		each: func(kind uint16, b []byte) {
			if kind == xfrmNewState && len(b) >= atSPI+4 {
				held.SPIs[binary.BigEndian.Uint32(b[atSPI:])] = true
			}
		},
	})
	if err != nil {
		return held, err
	}
	err = i.s.list(ctx, listing{
		what:    "IPsec policies",
		request: func(w *writer) { w.begin(xfrmGetPolicy, 0) },
		restart: func() { held.Policies = map[Policy]bool{} },
		each: func(kind uint16, b []byte) {
			if p, ok := parsePolicy(b); ok && kind == xfrmNewPolicy {
				held.Policies[p] = true
			}
		},
	})
	return held, err
}

// Messages and attributes (linux/xfrm.h), and where things are in the structures xfrm_usersa_info and xfrm_userpolicy_info, both of
// which begin with an xfrm_selector.
const (
	xfrmNewState  = 0x10
	xfrmGetState  = 0x12
	xfrmNewPolicy = 0x13
	xfrmGetPolicy = 0x15
	xfrmAttrIfID  = 31

	atSelectorSrc  = 16
	atSelectorKind = 40 // address family
	atSelectorDst  = 42 // length of the prefix, and behind it that of the source
	atSPI          = 72
	atDirection    = 160
	sizePolicy     = 168
)

// parsePolicy reads a policy of a device. One of a socket, or without a device, is none of those.
func parsePolicy(b []byte) (p Policy, ok bool) {
	if len(b) < sizePolicy || b[atDirection] > uint8(Through) {
		return p, false
	}
	size := 4
	if binary.NativeEndian.Uint16(b[atSelectorKind:]) == unix.AF_INET6 {
		size = 16
	}
	p.Dir = Direction(b[atDirection])
	p.Dst, ok = selected(b[:size], b[atSelectorDst])
	src, okSrc := selected(b[atSelectorSrc:atSelectorSrc+size], b[atSelectorDst+1])
	p.Src = src
	for kind, v := range attrs(b[sizePolicy:]) {
		if kind == xfrmAttrIfID {
			p.ID = getU32(v)
		}
	}
	return p, ok && okSrc && p.ID != 0
}

func selected(address []byte, bits byte) (netip.Prefix, bool) {
	a, _ := netip.AddrFromSlice(address)
	p := netip.PrefixFrom(a, int(bits))
	return p, p.IsValid()
}
