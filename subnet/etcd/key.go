package etcd

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// minBits are the largest subnets that a key may name. No node gets more; a key that says so is a mistake which
// would otherwise take the place of every lease inside it.
var minBits = [2]int{subnet.Inet: 8, subnet.Inet6: 16}

// formatKey returns the name of the key of s below "subnets/", as flannel writes it: "10.5.52.0-24",
// "10.5.52.0-24&fd00:5::-64", or Weft's own IPv6-only form "fd00:5::-64". The latter has no place in a cluster with a
// flanneld in it, which forgets all its peers when a key changes that it cannot read (v0.28: an event that is not a
// subnet becomes an empty snapshot). For the same reason nothing but leases is ever written below "subnets".
func formatKey(s subnet.Subnets) string {
	buf := make([]byte, 0, 64)
	for _, p := range s {
		if !p.IsValid() {
			continue
		}
		if len(buf) > 0 {
			buf = append(buf, '&')
		}
		buf = p.Addr().AppendTo(buf)
		buf = append(buf, '-')
		buf = strconv.AppendInt(buf, int64(p.Bits()), 10)
	}
	return string(buf)
}

// parseKey is the inverse of formatKey. It accepts every spelling of an address.
func parseKey(name string) (subnet.Subnets, error) {
	var s subnet.Subnets
	first, second, both := strings.Cut(name, "&")
	p, err := parseSubnet(first)
	if err != nil {
		return s, err
	}
	s[subnet.FamilyOf(p.Addr())] = p
	if !both {
		return s, nil
	}
	if !p.Addr().Is4() {
		return subnet.Subnets{}, errors.New("the subnet before the & must be IPv4, as in 10.5.52.0-24&fd00:5::-64")
	}
	q, err := parseSubnet(second)
	if err != nil {
		return subnet.Subnets{}, err
	}
	if q.Addr().Is4() {
		return subnet.Subnets{}, errors.New("the subnet after the & must be IPv6, as in 10.5.52.0-24&fd00:5::-64")
	}
	s[subnet.Inet6] = q
	return s, nil
}

// parseSubnet reads one half of a key: an address, a dash and a length.
func parseSubnet(text string) (netip.Prefix, error) {
	head, tail, ok := strings.Cut(text, "-")
	if !ok {
		return netip.Prefix{}, fmt.Errorf("%q is not a subnet: want an address, a dash and a length, as in 10.5.52.0-24", text)
	}
	addr, err := netip.ParseAddr(head)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not the address of a subnet: want one as in 10.5.52.0-24", head)
	}
	bits, err := strconv.ParseUint(tail, 10, 8)
	f := subnet.FamilyOf(addr)
	if err != nil || int(bits) < minBits[f] || int(bits) > f.Bits() {
		return netip.Prefix{}, fmt.Errorf("%q is not the length of an %s subnet: want %d to %d", tail, f, minBits[f], f.Bits())
	}
	p := netip.PrefixFrom(addr, int(bits))
	if p.Masked() != p {
		return netip.Prefix{}, fmt.Errorf("%s has bits set past its length: want %s", p, p.Masked())
	}
	return p, nil
}
