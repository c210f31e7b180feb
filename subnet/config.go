package subnet

import (
	"net/netip"
	"slices"
)

// Config is a checked network config. No zero value in it means "default": Parse has filled everything in.
type Config struct {
	Networks      [2]Network     // the first of each Family; the zero Network where the family is off
	Further       [2][]Network   // by Family, in order: where subnets are taken from when those before are full; without overlaps
	NFTables      *bool          // EnableNFTables; nil where the config does not say
	Masquerade    [2]*bool       // MasqueradeIPv4, MasqueradeIPv6; nil where the config leaves it to the agent's flag
	NoMasquerade  []netip.Prefix // destinations outside the cluster that see pods' own addresses; masked
	Backend       string         // backend type, in lower case; not judged here
	BackendConfig string         // the Backend object as it was written, compact, for the backend's own parser; "{}" where there was none
}

// Covers tells whether s has a subnet in each network of c, whatever its length: what a node is given that does not choose
// by itself. It may have one of a family that is off, too.
func (c Config) Covers(s Subnets) bool {
	for _, f := range Families {
		if c.Networks[f].Enabled() && !Contain(c.All(f), s[f]) {
			return false
		}
	}
	return !s.IsZero()
}

// All are the networks of a family, the first one first; none where the family is off.
func (c Config) All(f Family) []Network {
	if !c.Networks[f].Enabled() {
		return nil
	}
	return append([]Network{c.Networks[f]}, c.Further[f]...)
}

// Holds tells whether s is what a node leases under c: one subnet of every family, and none of one that is off.
func (c Config) Holds(s Subnets) bool {
	for _, f := range Families {
		if c.Networks[f].Enabled() != s[f].IsValid() {
			return false
		}
		if s[f].IsValid() && !c.HoldsIn(f, s[f]) {
			return false
		}
	}
	return !s.IsZero()
}

// HoldsIn tells whether p is a subnet that may be leased in one of a family's networks.
func (c Config) HoldsIn(f Family, p netip.Prefix) bool {
	return c.Networks[f].Holds(p) || slices.ContainsFunc(c.Further[f], func(n Network) bool { return n.Holds(p) })
}
