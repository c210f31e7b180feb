package backend_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-network/weft/subnet"
)

// Peers are served in every network of the cluster, and only there.
func TestSharedInFurtherNetworks(t *testing.T) {
	n := dual()
	n.Further[subnet.Inet] = []subnet.Network{{Prefix: netip.MustParsePrefix("10.6.0.0/16")}, {Prefix: netip.MustParsePrefix("10.8.0.0/20")}}
	for _, test := range []struct {
		name, subnet string
		want         string // part of the error; "" for none
	}{
		{"first", "10.5.7.0/24", ""},
		{"second", "10.6.7.0/24", ""},
		{"third", "10.8.7.0/26", ""},
		{"none", "10.7.7.0/24", "subnet 10.7.7.0/24 is not a part of the cluster's network 10.5.0.0/16 or 10.6.0.0/16 or 10.8.0.0/20"},
		{"more than a network", "10.8.0.0/19", "not a part of"},
		{"network of the other family", "fd00:6::/64", "not a part of the cluster's network fd00:5::/56"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var l subnet.Lease
			p := netip.MustParsePrefix(test.subnet)
			l.Subnets[subnet.FamilyOf(p.Addr())] = p
			l.PublicIP = [2]netip.Addr{netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("2001:db8::2")}
			shared, err := n.Shared(&l)
			if test.want == "" && (err != nil || shared != [2]bool{true, false}) {
				t.Errorf("shared %v, %v", shared, err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
