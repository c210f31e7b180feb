package network

import (
	"net/netip"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/extension"
	"github.com/weft-network/weft/backend/hostgw"
	"github.com/weft-network/weft/subnet"
)

// TestScopeLeavesWhatCommandsMake holds that routes without Weft's mark are taken for flannel's only where nobody else may have made them.
func TestScopeLeavesWhatCommandsMake(t *testing.T) {
	config, _, err := subnet.Parse(`{"Network":"10.5.0.0/16"}`)
	must(t, err)
	commands, _, err := extension.New(`{"Type":"extension","SubnetAddCommand":"ip route replace $SUBNET via $PUBLIC_IP"}`)
	must(t, err)
	for _, test := range []struct {
		name string
		ways []backend.Backend
		want int
	}{
		{"host-gw", []backend.Backend{hostgw.Backend{}}, 1},
		{"extension", []backend.Backend{commands}, 0},
		{"from extension to host-gw", []backend.Backend{hostgw.Backend{}, commands}, 0},
	} {
		p := plan{config: config, own: subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.1.0/24")}}}
		for _, b := range test.ways {
			p.ways = append(p.ways, way{b: b})
		}
		if got := len(p.scope().Networks); got != test.want {
			t.Errorf("%s: routes to subnets of %d networks are taken for flannel's, want %d", test.name, got, test.want)
		}
	}
}
