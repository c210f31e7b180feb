package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/weft-network/weft/subnet"
)

// DefaultPrefix is what flannel's annotations begin with.
const DefaultPrefix = "flannel.alpha.coreos.com"

// The annotations, behind the prefix and a slash.
const (
	managedName     = "kube-subnet-manager"
	backendTypeName = "backend-type"
	uplinkMTUName   = "uplink-mtu" // Weft's own, as the next; flanneld passes them over
	waysName        = "weft-ways"
)

// perFamily is the name of an annotation of each family.
type perFamily [2]string

// The annotations of which each family has its own. The first two are the agents', the others operators'.
func backendDataNames() perFamily { return perFamily{"backend-data", "backend-v6-data"} }
func publicIPNames() perFamily    { return perFamily{"public-ip", "public-ipv6"} }
func overwriteNames() perFamily   { return perFamily{"public-ip-overwrite", "public-ipv6-overwrite"} }
func nodePublicNames() perFamily  { return perFamily{"node-public-ip", "node-public-ipv6"} }

// Written returns the names, behind the prefix and a slash, of all annotations that an agent writes on its Node.
func Written() []string {
	data, public := backendDataNames(), publicIPNames()
	return slices.Concat([]string{managedName, backendTypeName, uplinkMTUName, waysName, contestName}, data[:], public[:])
}

// isAnnotation tells whether an annotation of this name, whatever its prefix, is one that Weft reads.
func isAnnotation(name string) bool {
	overwrite, public := overwriteNames(), nodePublicNames()
	return slices.Contains(Written(), name) || slices.Contains(overwrite[:], name) || slices.Contains(public[:], name)
}

// annotations reads and writes annotations under one prefix.
type annotations struct{ prefix string }

func (a annotations) key(name string) string { return a.prefix + "/" + name }

// encode returns the annotations that announce attrs, as flanneld writes them: a backend without data has "null". A nil
// value is that of an annotation that must not be there.
func (a annotations) encode(attrs subnet.Attrs) map[string]*string {
	text := func(s string) *string { return &s }
	m := map[string]*string{a.key(managedName): text("true"), a.key(backendTypeName): text(attrs.Backend), a.key(contestName): nil, a.key(uplinkMTUName): nil, a.key(waysName): nil}
	if attrs.MTU != 0 {
		m[a.key(uplinkMTUName)] = text(strconv.Itoa(attrs.MTU))
	}
	if attrs.Ways != "" {
		m[a.key(waysName)] = text(attrs.Ways)
	}
	for _, f := range subnet.Families {
		public, data := a.key(publicIPNames()[f]), a.key(backendDataNames()[f])
		m[public], m[data] = nil, nil
		if ip := attrs.PublicIP[f]; ip.IsValid() {
			m[public], m[data] = text(ip.String()), text("null")
		}
		if attrs.Data[f] != "" {
			m[data] = text(attrs.Data[f])
		}
	}
	return m
}

// errNoLease says that a Node is not one of ours, or not yet.
var errNoLease = errors.New("the Node announces nothing")

// lease reads the lease that a Node carries. It has the families that the Node has both a pod CIDR and a public address
// of: a cluster may give out pod CIDRs of a family that the network does not use. The error is errNoLease where there
// is none, and anything else where what is there cannot be understood.
func (a annotations) lease(n *Node) (subnet.Lease, error) {
	if n.Annotations[a.key(managedName)] != "true" {
		return subnet.Lease{}, errNoLease
	}
	cidrs, err := podCIDRs(n)
	if err != nil {
		return subnet.Lease{}, err
	}
	if cidrs.IsZero() {
		return subnet.Lease{}, errNoLease
	}
	l := subnet.Lease{Attrs: subnet.Attrs{Node: n.Name, Backend: n.Annotations[a.key(backendTypeName)],
		MTU: subnet.ParseMTU(n.Annotations[a.key(uplinkMTUName)])}}
	if l.Backend == "" {
		return subnet.Lease{}, fmt.Errorf("annotation %s is missing", a.key(backendTypeName))
	}
	if l.Ways, err = subnet.CompactWays([]byte(n.Annotations[a.key(waysName)])); err != nil {
		return subnet.Lease{}, fmt.Errorf("annotation %s: %w", a.key(waysName), err)
	}
	for _, f := range subnet.Families {
		ip, err := a.address(n, f, publicIPNames()[f])
		if err != nil {
			return subnet.Lease{}, err
		}
		data, err := a.data(n, backendDataNames()[f])
		if err != nil {
			return subnet.Lease{}, err
		}
		if ip.IsValid() && cidrs[f].IsValid() {
			l.Subnets[f], l.PublicIP[f], l.Data[f] = cidrs[f], ip, data
		}
	}
	if l.Subnets.IsZero() {
		return subnet.Lease{}, fmt.Errorf("no %s or %s of a family that the Node has a pod CIDR of (%s)",
			a.key(publicIPNames()[subnet.Inet]), a.key(publicIPNames()[subnet.Inet6]), cidrs)
	}
	return l, nil
}

// address reads an annotation with an address; the zero Addr where it is not there.
func (a annotations) address(n *Node, f subnet.Family, name string) (netip.Addr, error) {
	text := n.Annotations[a.key(name)]
	if text == "" || text == "<nil>" { // flanneld writes so where it has none
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(text)
	if err == nil && f == subnet.Inet {
		ip = ip.Unmap()
	}
	if err != nil || ip.Zone() != "" || subnet.FamilyOf(ip) != f {
		return netip.Addr{}, fmt.Errorf("annotation %s: %.100q is not an %s address", a.key(name), text, f)
	}
	if ip.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return ip, nil
}

// data reads an annotation with a backend's JSON, compact; null is nothing.
func (a annotations) data(n *Node, name string) (string, error) {
	text := n.Annotations[a.key(name)]
	if text == "" || text == "null" {
		return "", nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		return "", fmt.Errorf("annotation %s: %.100q is not JSON: %w", a.key(name), text, err)
	}
	if b.Len() == len(text) {
		return text, nil
	}
	return b.String(), nil
}

// podCIDRs reads the pod CIDRs of a Node; zero where it has none.
func podCIDRs(n *Node) (subnet.Subnets, error) {
	texts := n.Spec.PodCIDRs
	if len(texts) == 0 && n.Spec.PodCIDR != "" {
		texts = []string{n.Spec.PodCIDR}
	}
	var s subnet.Subnets
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() {
			return subnet.Subnets{}, fmt.Errorf("pod CIDR %.100q is not a network", text)
		}
		f := subnet.FamilyOf(p.Addr())
		if s[f].IsValid() {
			return subnet.Subnets{}, fmt.Errorf("two pod CIDRs of %s: %s and %s", f, s[f], p)
		}
		s[f] = p.Masked()
	}
	return s, nil
}
