package subnet

import (
	"net/netip"
)

// rawNetwork is the part of raw that describes one family, with the names of its keys.
type rawNetwork struct {
	family               Family
	enable               string
	network, subnetLen   string
	subnetMin, subnetMax string
	prefix, first, last  *string
	length               *int
	enabled              bool
	usual, longest       int // the default SubnetLen; the greatest that leaves room for hosts
}

func (r raw) families() [2]rawNetwork {
	return [2]rawNetwork{
		{
			family: Inet, enable: "EnableIPv4", enabled: r.EnableIPv4 == nil || *r.EnableIPv4,
			network: "Network", prefix: r.Network, subnetLen: "SubnetLen", length: r.SubnetLen,
			subnetMin: "SubnetMin", first: r.SubnetMin, subnetMax: "SubnetMax", last: r.SubnetMax,
			usual: 24, longest: 30,
		},
		{
			family: Inet6, enable: "EnableIPv6", enabled: r.EnableIPv6 != nil && *r.EnableIPv6,
			network: "IPv6Network", prefix: r.IPv6Network, subnetLen: "IPv6SubnetLen", length: r.IPv6SubnetLen,
			subnetMin: "IPv6SubnetMin", first: r.IPv6SubnetMin, subnetMax: "IPv6SubnetMax", last: r.IPv6SubnetMax,
			usual: 64, longest: 126,
		},
	}
}

// networks checks what the config says of both families.
func (p *parser) networks(r raw) [2]Network {
	var both [2]Network
	families := r.families()
	if !families[Inet].enabled && !families[Inet6].enabled && !p.wrong["EnableIPv4"] && !p.wrong["EnableIPv6"] {
		p.mistake("EnableIPv4", false, "want one of EnableIPv4 and EnableIPv6 to be true")
	}
	for f, n := range families {
		both[f] = p.network(n)
	}
	return both
}

func (p *parser) network(r rawNetwork) Network {
	prefix, ok := p.prefix(r)
	if !r.enabled {
		// A network of length 0 stands for none in configs that are made from a template.
		if ok && prefix.Bits() > 0 && !p.wrong[r.enable] {
			p.warn("%s: %s is not used, because %s is false", r.network, prefix, r.enable)
		}
		return Network{}
	}
	if !ok || !p.usable(r, prefix) {
		return Network{}
	}
	length, ok := p.subnetLen(r, prefix)
	if !ok {
		anywhere := Network{Prefix: prefix, SubnetLen: r.family.Bits()} // every address is a boundary
		p.bound(r.subnetMin, r.first, anywhere, netip.Prefix{})
		p.bound(r.subnetMax, r.last, anywhere, netip.Prefix{})
		return Network{}
	}
	n := Network{Prefix: prefix, SubnetLen: length, Max: last(prefix, length)}
	n.Min = netip.PrefixFrom(prefix.Addr(), length)
	n.Min = n.At(1) // the first subnet shares its address with the network, which once was a broadcast address too
	n.Min, ok = p.bound(r.subnetMin, r.first, n, n.Min)
	n.Max, _ = p.bound(r.subnetMax, r.last, n, n.Max)
	if ok && !p.wrong[r.subnetMax] && n.Max.Addr().Less(n.Min.Addr()) {
		p.mistake(r.subnetMax, n.Max.Addr().String(), "want an address that does not come before %s, which is %s", r.subnetMin, n.Min.Addr())
	}
	return n
}

// prefix reads the network itself. Host bits are masked, as flannel does.
func (p *parser) prefix(r rawNetwork) (netip.Prefix, bool) {
	example := [2]string{"10.5.0.0/16", "fd00:5::/56"}[r.family]
	if r.prefix == nil || *r.prefix == "" && !r.enabled {
		if r.enabled && !p.wrong[r.network] {
			p.mistake(r.network, nil, "want an %s network such as %q, or %s false", r.family, example, r.enable)
		}
		return netip.Prefix{}, false
	}
	n, err := netip.ParsePrefix(*r.prefix)
	if err != nil || FamilyOf(n.Addr()) != r.family || n.Addr().Is4In6() {
		p.mistake(r.network, *r.prefix, "want an %s network such as %q", r.family, example)
		return netip.Prefix{}, false
	}
	return n.Masked(), true
}

// usable refuses networks out of which no pod can have an address.
func (p *parser) usable(r rawNetwork, n netip.Prefix) bool {
	for _, taken := range []struct{ prefix, what string }{
		{"127.0.0.0/8", "loopback"}, {"224.0.0.0/4", "multicast"},
		{"::1/128", "loopback"}, {"ff00::/8", "multicast"}, {"fe80::/10", "link-local"}, {"::ffff:0:0/96", "IPv4-mapped"},
	} {
		if n.Overlaps(netip.MustParsePrefix(taken.prefix)) {
			p.mistake(r.network, n.String(), "want a network without the %s addresses %s", taken.what, taken.prefix)
			return false
		}
	}
	if most := r.longest - 2; n.Bits() > most {
		p.mistake(r.network, n.String(), "want a network of length %d or less: four subnets of length %d must fit in", most, r.longest)
		return false
	}
	return true
}

// subnetLen checks or chooses the length of a node's subnet in the network n. Zero stands for the default, as it
// does for flannel.
func (p *parser) subnetLen(r rawNetwork, n netip.Prefix) (int, bool) {
	least := n.Bits() + 2
	if r.length == nil || *r.length == 0 {
		return max(r.usual, least), !p.wrong[r.subnetLen]
	}
	if l := *r.length; l < least || l > r.longest {
		p.mistake(r.subnetLen, l, "want %d to %d: four subnets or more in %s, and four addresses or more in each", least, r.longest, n)
		return 0, false
	}
	return *r.length, true
}

// bound reads SubnetMin or SubnetMax, the address of a subnet in n.
func (p *parser) bound(key string, value *string, n Network, usual netip.Prefix) (netip.Prefix, bool) {
	if value == nil || *value == "" {
		return usual, !p.wrong[key]
	}
	a, err := netip.ParseAddr(*value)
	if err != nil || !n.Prefix.Contains(a) {
		p.mistake(key, *value, "want an address in %s", n.Prefix)
		return usual, false
	}
	bound := netip.PrefixFrom(a, n.SubnetLen)
	if masked := bound.Masked(); masked != bound {
		p.mistake(key, *value, "want the first address of a subnet of length %d, such as %s", n.SubnetLen, masked.Addr())
		return usual, false
	}
	return bound, true
}
