package subnet

import (
	"net/netip"
	"strconv"
	"strings"
)

// Subnets are the subnets of one node, one for each family that the cluster uses; the zero Prefix where it uses
// none. It is the key of a lease.
type Subnets [2]netip.Prefix

// IsZero tells whether there is no subnet at all.
func (s Subnets) IsZero() bool { return s == Subnets{} }

// String returns the subnets separated by a comma, for messages.
func (s Subnets) String() string {
	var parts []string
	for _, p := range s {
		if p.IsValid() {
			parts = append(parts, p.String())
		}
	}
	return strings.Join(parts, ",")
}

// Overlaps tells whether any subnet of s overlaps its counterpart in o.
func (s Subnets) Overlaps(o Subnets) bool {
	for f := range s {
		if s[f].IsValid() && o[f].IsValid() && s[f].Overlaps(o[f]) {
			return true
		}
	}
	return false
}

// Attrs is what a node announces of itself: all that its peers need to reach its subnets.
type Attrs struct {
	Node     string        // identity of the node, stable over changes of its addresses; "" in a lease of flanneld
	PublicIP [2]netip.Addr // where peers send encapsulated packets to; invalid where the family has none
	Backend  string        // backend type, as in net-conf.json: "vxlan", "host-gw", ...; the newest where there are several
	Data     [2]string     // the backend's own data, compact JSON; "" where it has none
	Ways     string        // all ways to the node, compact JSON, see AllWays; "" where Backend and Data say it all
	MTU      int           // of the smallest of the node's uplinks, bytes: larger packets do not reach it; 0 where it is not said, as by flanneld
}

// ParseMTU reads the MTU of an uplink from a lease. What cannot be one is 0, as if it were not said: the peer is reached all the same.
func ParseMTU(text string) int {
	if mtu, err := strconv.Atoi(text); err == nil && mtu >= minMTU && mtu <= maxMTU {
		return mtu
	}
	return 0
}

// Lease is a claim of one node to its subnets. Leases are compared as whole values with ==.
type Lease struct {
	Subnets Subnets
	Attrs
}

// Addresses returns the public addresses separated by a comma, for messages.
func (a Attrs) Addresses() string {
	var parts []string
	for _, ip := range a.PublicIP {
		if ip.IsValid() {
			parts = append(parts, ip.String())
		}
	}
	return strings.Join(parts, ",")
}

// Shares tells whether a and o announce the same public address in any family.
func (a Attrs) Shares(o Attrs) bool {
	for f, ip := range a.PublicIP {
		if ip.IsValid() && ip == o.PublicIP[f] {
			return true
		}
	}
	return false
}
