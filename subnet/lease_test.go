package subnet_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

func TestSubnets(t *testing.T) {
	for _, tt := range []struct {
		name     string
		a, b     subnet.Subnets
		text     string // of a
		overlaps bool
		compare  int
	}{
		{"none", subnet.Subnets{}, subnet.Subnets{}, "", false, 0},
		{"none and one", subnet.Subnets{}, subnets("10.5.1.0/24"), "", false, -1},
		{"same", subnets("10.5.1.0/24"), subnets("10.5.1.0/24"), "10.5.1.0/24", true, 0},
		{"one in the other", subnets("10.5.1.128/25"), subnets("10.5.1.0/24"), "10.5.1.128/25", true, 1},
		{"neighbours", subnets("10.5.2.0/24"), subnets("10.5.1.0/24"), "10.5.2.0/24", false, 1},
		{"by number, not by text", subnets("10.5.9.0/24"), subnets("10.5.10.0/24"), "10.5.9.0/24", false, -1},
		{"families do not meet", subnets("10.5.1.0/24"), subnets("fd00:5:0:1::/64"), "10.5.1.0/24", false, 1},
		{"one family of two", subnets("10.5.1.0/24", "fd00:5:0:1::/64"), subnets("10.5.2.0/24", "fd00:5:0:1::/64"),
			"10.5.1.0/24,fd00:5:0:1::/64", true, -1},
		{"second family decides", subnets("10.5.1.0/24", "fd00:5:0:2::/64"), subnets("10.5.1.0/24", "fd00:5:0:1::/64"),
			"10.5.1.0/24,fd00:5:0:2::/64", true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.text, tt.a.String()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			if tt.a.Overlaps(tt.b) != tt.overlaps || tt.b.Overlaps(tt.a) != tt.overlaps {
				t.Errorf("%s overlaps %s: %t, the other way %t: want %t", tt.a, tt.b, tt.a.Overlaps(tt.b), tt.b.Overlaps(tt.a), tt.overlaps)
			}
			if tt.a.Compare(tt.b) != tt.compare || tt.b.Compare(tt.a) != -tt.compare {
				t.Errorf("%s compared with %s: %d, the other way %d: want %d", tt.a, tt.b, tt.a.Compare(tt.b), tt.b.Compare(tt.a), tt.compare)
			}
			if tt.a.IsZero() != (tt.text == "") {
				t.Errorf("%s is zero: %t", tt.a, tt.a.IsZero())
			}
		})
	}
}

func TestAttrs(t *testing.T) {
	at := func(addresses ...string) subnet.Attrs {
		var a subnet.Attrs
		for _, text := range addresses {
			ip := netip.MustParseAddr(text)
			a.PublicIP[subnet.FamilyOf(ip)] = ip
		}
		return a
	}
	for _, tt := range []struct {
		name   string
		a, b   subnet.Attrs
		text   string // of a
		shares bool
	}{
		{"none", at(), at(), "", false},
		{"same", at("192.0.2.1"), at("192.0.2.1"), "192.0.2.1", true},
		{"different", at("192.0.2.1"), at("192.0.2.2"), "192.0.2.1", false},
		{"one of two", at("192.0.2.1", "2001:db8::1"), at("192.0.2.2", "2001:db8::1"), "192.0.2.1,2001:db8::1", true},
		{"two and one", at("192.0.2.1", "2001:db8::1"), at("192.0.2.1"), "192.0.2.1,2001:db8::1", true},
		{"one each", at("192.0.2.1"), at("2001:db8::1"), "192.0.2.1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.text, tt.a.Addresses()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			if tt.a.Shares(tt.b) != tt.shares || tt.b.Shares(tt.a) != tt.shares {
				t.Errorf("shares: %t, the other way %t: want %t", tt.a.Shares(tt.b), tt.b.Shares(tt.a), tt.shares)
			}
		})
	}
}

func TestFamily(t *testing.T) {
	for _, tt := range []struct {
		address string
		family  subnet.Family
		text    string
		bits    int
	}{
		{"192.0.2.1", subnet.Inet, "IPv4", 32},
		{"2001:db8::1", subnet.Inet6, "IPv6", 128},
		{"::ffff:192.0.2.1", subnet.Inet6, "IPv6", 128},
	} {
		f := subnet.FamilyOf(netip.MustParseAddr(tt.address))
		if f != tt.family || f.String() != tt.text || f.Bits() != tt.bits {
			t.Errorf("%s is %d, %s with %d bits: want %d, %s with %d", tt.address, f, f, f.Bits(), tt.family, tt.text, tt.bits)
		}
	}
	if !slices.Equal(subnet.Families[:], []subnet.Family{subnet.Inet, subnet.Inet6}) {
		t.Errorf("families are %v", subnet.Families)
	}
}

func TestTaken(t *testing.T) {
	c := parse(t, dual)
	taken := c.Taken(slices.Values([]subnet.Subnets{
		subnets("10.5.20.0/24"), subnets("10.5.21.64/26", "fd00:5:0:21::/64"), subnets("10.5.32.0/20"), subnets("fd00::/16"), {},
	}))
	for prefix, want := range map[string]bool{
		"10.5.19.0/24": false, "10.5.20.0/24": true, "10.5.21.0/24": true, "10.5.22.0/24": false,
		"10.5.31.0/24": false, "10.5.32.0/24": true, "10.5.47.0/24": true, "10.5.48.0/24": false,
		"fd00:5:0:20::/64": true, "fd00:5:0:21::/64": true, "fe00:5:0:21::/64": false,
	} {
		p := netip.MustParsePrefix(prefix)
		if got := taken(subnet.FamilyOf(p.Addr()), p); got != want {
			t.Errorf("%s is taken: %t, want %t", prefix, got, want)
		}
	}
	if one := parse(t, `{"Network": "10.5.0.0/16"}`).Taken(slices.Values([]subnet.Subnets{subnets("fd00::/16")})); one(subnet.Inet, netip.MustParsePrefix("10.5.20.0/24")) {
		t.Error("a subnet of a family that is off takes one of the other")
	}
}
