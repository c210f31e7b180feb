package kube

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/subnet"
)

// self reads what a Node says of the addresses of its node. What cannot be read is left out and named in the error.
func (a annotations) self(n *Node) (subnet.Self, error) {
	var s subnet.Self
	cidrs, err := podCIDRs(n)
	s.Assigned = cidrs
	errs := []error{err}
	for _, f := range subnet.Families {
		if ip := internalIP(n, f); ip.IsValid() {
			s.Uplink[f] = subnet.Hint{Addr: ip, Origin: "the Node's InternalIP"}
		}
		ip, err := a.address(n, f, nodePublicNames()[f])
		if ip.IsValid() {
			s.Public[f] = subnet.Hint{Addr: ip, Origin: "annotation " + a.key(nodePublicNames()[f])}
		}
		over, err2 := a.address(n, f, overwriteNames()[f])
		if over.IsValid() {
			s.Overwrite[f] = subnet.Hint{Addr: over, Origin: "annotation " + a.key(overwriteNames()[f])}
		}
		errs = append(errs, err, err2)
	}
	if err := errors.Join(errs...); err != nil {
		return s, fmt.Errorf("addresses of this node: %w", err)
	}
	return s, nil
}

// internalIP is the first InternalIP of a family; the zero Addr where there is none.
func internalIP(n *Node, f subnet.Family) netip.Addr {
	for _, a := range n.Status.Addresses {
		if a.Type != "InternalIP" {
			continue
		}
		ip, err := netip.ParseAddr(a.Address)
		if err == nil && ip.Zone() == "" && subnet.FamilyOf(ip) == f && !ip.IsUnspecified() {
			return ip
		}
	}
	return netip.Addr{}
}
