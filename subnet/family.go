package subnet

import "net/netip"

// Family indexes the per-family halves of a value: a [2]T holds what belongs to IPv4 at Inet and what belongs to
// IPv6 at Inet6. Code loops over Families instead of being written twice.
type Family int

// The two families, under the kernel's names.
const (
	Inet  Family = iota // IPv4
	Inet6               // IPv6
)

// Families are both families in the order in which they are always written.
var Families = [...]Family{Inet, Inet6}

// FamilyOf returns the family of a. An IPv4-mapped IPv6 address counts as IPv6; callers unmap what they read.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return Inet
	}
	return Inet6
}

// String returns "IPv4" or "IPv6", as people write it.
func (f Family) String() string {
	if f == Inet {
		return "IPv4"
	}
	return "IPv6"
}

// Bits returns the length of an address of f in bits: 32 or 128.
func (f Family) Bits() int {
	if f == Inet {
		return 32
	}
	return 128
}
