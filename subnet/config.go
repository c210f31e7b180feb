package subnet

import "net/netip"

// Config is a checked network config. No zero value in it means "default": Parse has filled everything in.
type Config struct {
	Networks      [2]Network     // indexed by Family; the zero Network where the family is off
	NFTables      *bool          // EnableNFTables; nil where the config does not say
	Masquerade    [2]*bool       // MasqueradeIPv4, MasqueradeIPv6; nil where the config leaves it to the agent's flag
	NoMasquerade  []netip.Prefix // destinations outside the cluster that see pods' own addresses; masked
	Backend       string         // backend type, in lower case; not judged here
	BackendConfig string         // the Backend object as it was written, compact, for the backend's own parser; "{}" where there was none
}

// Covers tells whether s has a subnet in each network of c, whatever its length: what a node is given that does not choose
// by itself. It may have one of a family that is off, too.
func (c Config) Covers(s Subnets) bool {
	for f, n := range c.Networks {
		if n.Enabled() && !(s[f].IsValid() && s[f].Bits() >= n.Prefix.Bits() && n.Prefix.Contains(s[f].Addr())) {
			return false
		}
	}
	return !s.IsZero()
}

// Holds tells whether s is what a node leases under c: one subnet of every network, and none of a family that is off.
func (c Config) Holds(s Subnets) bool {
	for _, f := range Families {
		if c.Networks[f].Enabled() != s[f].IsValid() {
			return false
		}
		if s[f].IsValid() && !c.Networks[f].Holds(s[f]) {
			return false
		}
	}
	return !s.IsZero()
}
