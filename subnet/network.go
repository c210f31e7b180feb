package subnet

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// Network is the address range of one family and how it is cut into subnets.
type Network struct {
	Prefix    netip.Prefix // masked
	SubnetLen int          // length of a node's subnet
	Min, Max  netip.Prefix // first and last subnet that may be leased
}

// Enabled tells whether the family of n is in use.
func (n Network) Enabled() bool { return n.Prefix.IsValid() }

// Holds tells whether p is a subnet of n that may be leased: of the right length, on a boundary, from Min to Max.
func (n Network) Holds(p netip.Prefix) bool {
	return n.Enabled() && p.IsValid() && p.Addr().BitLen() == n.Prefix.Addr().BitLen() && p.Addr().Zone() == "" &&
		p.Bits() == n.SubnetLen && p == p.Masked() &&
		n.Min.Addr().Compare(p.Addr()) <= 0 && p.Addr().Compare(n.Max.Addr()) <= 0
}

// Contain tells whether p is a part of one of the networks, whatever its length.
func Contain(networks []Network, p netip.Prefix) bool {
	return p.IsValid() && slices.ContainsFunc(networks, func(n Network) bool {
		return p.Bits() >= n.Prefix.Bits() && n.Prefix.Contains(p.Addr())
	})
}

// maxSize bounds Size, so that sums of two indexes fit into 64 bits.
const maxSize = 1 << 62

// Size is the number of subnets from Min to Max, or 2^62 where there are more: nobody needs the rest. It is 0 where
// the family is off.
func (n Network) Size() uint64 {
	if !n.Enabled() {
		return 0
	}
	d := wideOf(n.Max.Addr()).minus(wideOf(n.Min.Addr())).right(n.hostBits())
	if d.hi != 0 || d.lo >= maxSize {
		return maxSize
	}
	return d.lo + 1
}

// At returns the subnet that comes i after Min; i is below Size.
func (n Network) At(i uint64) netip.Prefix {
	a := wideOf(n.Min.Addr()).plus(wide{lo: i}.left(n.hostBits()))
	return netip.PrefixFrom(a.addr(n.family()), n.SubnetLen)
}

// String returns what n is for messages: "10.5.0.0/16, subnets 10.5.1.0/24 to 10.5.255.0/24".
func (n Network) String() string {
	if !n.Enabled() {
		return "off"
	}
	return n.Prefix.String() + ", subnets " + n.Min.String() + " to " + n.Max.String()
}

func (n Network) family() Family { return FamilyOf(n.Prefix.Addr()) }

func (n Network) hostBits() int { return n.Prefix.Addr().BitLen() - n.SubnetLen }

// last returns the last subnet of the given length in p.
func last(p netip.Prefix, length int) netip.Prefix {
	f := FamilyOf(p.Addr())
	all := wide{^uint64(0), ^uint64(0)}
	inside := all.right(128 - f.Bits() + p.Bits()) // ones where an address of p may differ from its first
	a := wideOf(p.Addr()).plus(inside).addr(f)
	return netip.PrefixFrom(a, length).Masked()
}

// wide is an address of either family as a number.
type wide struct{ hi, lo uint64 }

func wideOf(a netip.Addr) wide {
	if a.Is4() {
		b := a.As4()
		return wide{lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (w wide) addr(f Family) netip.Addr {
	if f == Inet {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(w.lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], w.hi)
	binary.BigEndian.PutUint64(b[8:], w.lo)
	return netip.AddrFrom16(b)
}

func (w wide) plus(o wide) wide {
	lo, carry := bits.Add64(w.lo, o.lo, 0)
	hi, _ := bits.Add64(w.hi, o.hi, carry)
	return wide{hi, lo}
}

func (w wide) minus(o wide) wide {
	lo, borrow := bits.Sub64(w.lo, o.lo, 0)
	hi, _ := bits.Sub64(w.hi, o.hi, borrow)
	return wide{hi, lo}
}

// left and right shift by n bits, 0 to 128. A shift of a uint64 by 64 or more is 0 in Go, which the formulas use.
func (w wide) left(n int) wide {
	if n >= 64 {
		return wide{hi: w.lo << (n - 64)}
	}
	return wide{w.hi<<n | w.lo>>(64-n), w.lo << n}
}

func (w wide) right(n int) wide {
	if n >= 64 {
		return wide{lo: w.hi >> (n - 64)}
	}
	return wide{w.hi >> n, w.lo>>n | w.hi<<(64-n)}
}
