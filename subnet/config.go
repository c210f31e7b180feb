package subnet

import "net/netip"

// Config is a checked network config. No zero value in it means "default": Parse has filled everything in.
type Config struct {
	Networks      [2]Network     // indexed by Family; the zero Network where the family is off
	NFTables      *bool          // EnableNFTables; nil where the config does not say
	Masquerade    [2]*bool       // MasqueradeIPv4, MasqueradeIPv6; nil where the config leaves it to the agent's flag
	NoMasquerade  []netip.Prefix // destinations outside the cluster that see pods' own addresses
	Backend       string         // backend type
	BackendConfig string         // the Backend object as it was written, for the backend's own parser; "{}" where there was none
}

// Network is the address range of one family and how it is cut into subnets.
type Network struct {
	Prefix    netip.Prefix // masked
	SubnetLen int          // length of a node's subnet
	Min, Max  netip.Prefix // first and last subnet that may be leased
}

// Enabled tells whether the family of n is in use.
func (n Network) Enabled() bool { return n.Prefix.IsValid() }
