package subnet_test

import (
	"net/netip"
	"testing"

	"github.com/weft-network/weft/subnet"
)

// parse returns the config of a text that has to be right.
func parse(t testing.TB, text string) subnet.Config {
	t.Helper()
	c, _, err := subnet.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// subnets returns subnets from their texts.
func subnets(texts ...string) subnet.Subnets {
	var s subnet.Subnets
	for _, text := range texts {
		p := netip.MustParsePrefix(text)
		s[subnet.FamilyOf(p.Addr())] = p
	}
	return s
}

const dual = `{"Network": "10.5.0.0/16", "SubnetMin": "10.5.10.0", "SubnetMax": "10.5.99.0", "EnableIPv6": true, "IPv6Network": "fd00:5::/56"}`

func TestNetworkHolds(t *testing.T) {
	c := parse(t, dual)
	for _, tt := range []struct {
		name   string
		family subnet.Family
		prefix string
		want   bool
	}{
		{"first", subnet.Inet, "10.5.10.0/24", true},
		{"last", subnet.Inet, "10.5.99.0/24", true},
		{"before the first", subnet.Inet, "10.5.9.0/24", false},
		{"after the last", subnet.Inet, "10.5.100.0/24", false},
		{"shorter", subnet.Inet, "10.5.16.0/23", false},
		{"longer", subnet.Inet, "10.5.16.0/25", false},
		{"host bits", subnet.Inet, "10.5.16.1/24", false},
		{"other network", subnet.Inet, "10.6.16.0/24", false},
		{"other family", subnet.Inet, "fd00:5:0:1::/64", false},
		{"mapped", subnet.Inet, "::ffff:10.5.16.0/120", false},
		{"IPv6 first", subnet.Inet6, "fd00:5:0:1::/64", true},
		{"IPv6 last", subnet.Inet6, "fd00:5:0:ff::/64", true},
		{"IPv6 of the network", subnet.Inet6, "fd00:5::/64", false},
		{"IPv6 after the last", subnet.Inet6, "fd00:5:0:100::/64", false},
		{"IPv6, other family", subnet.Inet6, "10.5.16.0/24", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := c.Networks[tt.family].Holds(netip.MustParsePrefix(tt.prefix)); got != tt.want {
				t.Errorf("%s holds %s: %t, want %t", c.Networks[tt.family], tt.prefix, got, tt.want)
			}
		})
	}
	if c.Networks[subnet.Inet].Holds(netip.Prefix{}) || (subnet.Network{}).Holds(netip.Prefix{}) {
		t.Error("the zero Prefix is held")
	}
}

func TestConfigHolds(t *testing.T) {
	both := parse(t, dual)
	one := parse(t, `{"Network": "10.5.0.0/16"}`)
	more := parse(t, `{"Network": "10.5.0.0/16", "Networks": [{"Network": "10.6.0.0/16"}, {"Network": "10.7.0.0/16", "SubnetLen": 26}]}`)
	six := parse(t, `{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:5::/56"}`)
	for _, tt := range []struct {
		name    string
		config  subnet.Config
		subnets subnet.Subnets
		want    bool
	}{
		{"both of both", both, subnets("10.5.10.0/24", "fd00:5:0:1::/64"), true},
		{"one of both", both, subnets("10.5.10.0/24"), false},
		{"other of both", both, subnets("fd00:5:0:1::/64"), false},
		{"wrong one of both", both, subnets("10.5.10.0/24", "fd00:6:0:1::/64"), false},
		{"IPv4", one, subnets("10.5.10.0/24"), true},
		{"one too many", one, subnets("10.5.10.0/24", "fd00:5:0:1::/64"), false},
		{"IPv6", six, subnets("fd00:5:0:1::/64"), true},
		{"IPv4 without IPv4", six, subnets("10.5.10.0/24"), false},
		{"of a further network", more, subnets("10.6.10.0/24"), true},
		{"of the last network, of its own length", more, subnets("10.7.0.64/26"), true},
		{"of the last network, of the first one's length", more, subnets("10.7.1.0/24"), false},
		{"of no network", more, subnets("10.8.10.0/24"), false},
		{"none", one, subnet.Subnets{}, false},
		{"none of none", subnet.Config{}, subnet.Subnets{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.config.Holds(tt.subnets); got != tt.want {
				t.Errorf("%v holds %s: %t, want %t", tt.config.Networks, tt.subnets, got, tt.want)
			}
		})
	}
}

// TestNetworkAt walks through networks whose indexes cross the boundaries of bytes, words and addresses.
func TestNetworkAt(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		family       subnet.Family
		size         uint64
		at           map[uint64]string
	}{
		{"usual", `{"Network": "10.5.0.0/16"}`, subnet.Inet, 255, map[uint64]string{0: "10.5.1.0/24", 254: "10.5.255.0/24"}},
		{"end of an address space", `{"Network": "240.0.0.0/4", "SubnetLen": 8}`, subnet.Inet, 15,
			map[uint64]string{0: "241.0.0.0/8", 14: "255.0.0.0/8"}},
		{"many small ones", `{"Network": "10.0.0.0/8", "SubnetLen": 30}`, subnet.Inet, 1<<22 - 1,
			map[uint64]string{63: "10.0.1.0/30", 1<<22 - 2: "10.255.255.252/30"}},
		{"in the lower word", `{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00::/112", "IPv6SubnetLen": 120}`, subnet.Inet6, 255,
			map[uint64]string{0: "fd00::100/120", 254: "fd00::ff00/120"}},
		{"across the words", `{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00::/56", "IPv6SubnetLen": 72}`, subnet.Inet6, 1<<16 - 1,
			map[uint64]string{0: "fd00::100:0:0:0/72", 254: "fd00::ff00:0:0:0/72", 255: "fd00:0:0:1::/72", 1<<16 - 2: "fd00:0:0:ff:ff00::/72"}},
		{"more than can be counted", `{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fc00::/7", "IPv6SubnetLen": 126}`, subnet.Inet6, 1 << 62,
			map[uint64]string{0: "fc00::4/126", 1<<62 - 1: "fc00:0:0:1::/126"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := parse(t, tt.config).Networks[tt.family]
			if got := n.Size(); got != tt.size {
				t.Errorf("size %d, want %d", got, tt.size)
			}
			for i, want := range tt.at {
				got := n.At(i)
				if got.String() != want || !n.Holds(got) {
					t.Errorf("subnet %d is %s, held %t: want %s", i, got, n.Holds(got), want)
				}
			}
		})
	}
	if (subnet.Network{}).Size() != 0 {
		t.Error("a network that is off has subnets")
	}
}

func TestConfigCovers(t *testing.T) {
	const more = `{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/56", "Networks": [{"Network": "10.7.0.0/20"}, {"IPv6Network": "fd00:7::/48"}]}`
	const single, dual = `{"Network": "10.5.0.0/16"}`, `{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/56"}`
	for _, tt := range []struct {
		name, config string
		subnets      subnet.Subnets
		want         bool
	}{
		{"a subnet", single, subnets("10.5.7.0/24"), true},
		{"the first, which nodes do not choose", single, subnets("10.5.0.0/24"), true},
		{"a longer one", single, subnets("10.5.7.64/26"), true},
		{"the whole network", single, subnets("10.5.0.0/16"), true},
		{"more than the network", single, subnets("10.4.0.0/15"), false},
		{"another network", single, subnets("10.6.7.0/24"), false},
		{"a family that is off", single, subnets("10.5.7.0/24", "fd00:5:0:7::/64"), true},
		{"a family that is off alone", single, subnets("fd00:5:0:7::/64"), false},
		{"both", dual, subnets("10.5.7.0/24", "fd00:5:0:7::/80"), true},
		{"a family is missing", dual, subnets("10.5.7.0/24"), false},
		{"of a further network", more, subnets("10.7.7.0/27", "fd00:5:0:7::/64"), true},
		{"of further networks in both", more, subnets("10.7.7.0/24", "fd00:7:0:7::/64"), true},
		{"more than a further network", more, subnets("10.7.0.0/19", "fd00:7:0:7::/64"), false},
		{"none", single, subnet.Subnets{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := subnet.Parse(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Covers(tt.subnets); got != tt.want {
				t.Errorf("Covers(%s) is %t", tt.subnets, got)
			}
		})
	}
}
