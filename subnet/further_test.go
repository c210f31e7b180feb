package subnet_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// grown is a cluster that has outgrown its range twice: 3, 3 and 7 subnets.
const grown = `{"Network": "10.5.0.0/22", "SubnetLen": 24, "Networks": [{"Network": "10.6.0.0/22"}, {"Network": "10.7.0.0/24", "SubnetLen": 27}]}`

// TestPickInOrder fills one network after the other, and then has no more.
func TestPickInOrder(t *testing.T) {
	c := parse(t, grown)
	var held []subnet.Subnets
	var got []string
	for number := range 13 {
		s, err := subnet.Pick(c, fmt.Sprint("node-", number), subnet.Subnets{}, c.Taken(slices.Values(held)))
		if err != nil {
			t.Fatalf("node %d: %v", number, err)
		}
		if slices.ContainsFunc(held, s.Overlaps) {
			t.Errorf("%s overlaps one of %v", s, held)
		}
		held = append(held, s)
		for i, n := range c.All(subnet.Inet) {
			if n.Holds(s[subnet.Inet]) {
				got = append(got, fmt.Sprint(i))
			}
		}
	}
	if diff := cmp.Diff("0 0 0 1 1 1 2 2 2 2 2 2 2", strings.Join(got, " ")); diff != "" {
		t.Errorf("networks that were taken from (-want +got):\n%s", diff)
	}
	_, err := subnet.Pick(c, "node-13", subnet.Subnets{}, c.Taken(slices.Values(held)))
	if !errors.Is(err, subnet.ErrExhausted) {
		t.Fatalf("Pick returned %v: want ErrExhausted", err)
	}
	want := "no free subnet: all 3 of 10.5.0.0/22, subnets 10.5.1.0/24 to 10.5.3.0/24, and all 3 of 10.6.0.0/22, " +
		"subnets 10.6.1.0/24 to 10.6.3.0/24, and all 7 of 10.7.0.0/24, subnets 10.7.0.32/27 to 10.7.0.224/27 are taken"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestPickAmongNetworks(t *testing.T) {
	c := parse(t, grown)
	both := parse(t, `{"Network": "10.5.0.0/22", "SubnetLen": 24, "EnableIPv6": true, "IPv6Network": "fd00:5::/62", "IPv6SubnetLen": 64, "Networks": [{"IPv6Network": "fd00:6::/62"}]}`)
	for _, tt := range []struct {
		name     string
		config   subnet.Config
		previous subnet.Subnets
		taken    []subnet.Subnets
		want     string // network that the subnet is from, or the subnet
	}{
		{"previous of the last network", c, subnets("10.7.0.64/27"), nil, "10.7.0.64/27"},
		{"previous of the last network is taken", c, subnets("10.7.0.64/27"), []subnet.Subnets{subnets("10.7.0.64/27")}, "10.5.0.0/22"},
		{"a larger one is in the way of some", c, subnets("10.7.0.64/27"), []subnet.Subnets{subnets("10.7.0.0/25")}, "10.5.0.0/22"},
		{"smaller ones fill the first", c, subnet.Subnets{}, []subnet.Subnets{subnets("10.5.1.64/27"), subnets("10.5.2.0/30"), subnets("10.5.3.128/25")}, "10.6.0.0/22"},
		{"one lease holds the first", c, subnet.Subnets{}, []subnet.Subnets{subnets("10.5.0.0/16")}, "10.6.0.0/22"},
		{"one lease holds the first two", c, subnet.Subnets{}, []subnet.Subnets{subnets("10.4.0.0/15"), subnets("10.6.0.0/15")}, ""},
		{"each family on its own", both, subnets("10.5.2.0/24"), []subnet.Subnets{subnets("fd00:5::/62")}, "fd00:6::/62"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := subnet.Pick(tt.config, "node-1", tt.previous, tt.config.Taken(slices.Values(tt.taken)))
			if tt.want == "" {
				if !errors.Is(err, subnet.ErrExhausted) {
					t.Errorf("Pick returned %s, %v: want ErrExhausted", s, err)
				}
				return
			}
			if err != nil || !tt.config.Holds(s) || !s.Overlaps(subnets(tt.want)) {
				t.Errorf("Pick returned %s, %v: want one of %s", s, err, tt.want)
			}
		})
	}
}

func TestEnvAll(t *testing.T) {
	e, err := subnet.ParseEnv("FLANNEL_NETWORK=10.5.7.7/16\nFLANNEL_SUBNET=10.6.72.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\nWEFT_NETWORKS=10.6.0.0/16,fd00:6::/56\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("[10.5.0.0/16 10.6.0.0/16 fd00:6::/56]", fmt.Sprint(e.All())); diff != "" {
		t.Errorf("networks (-want +got):\n%s", diff)
	}
	if len(subnet.Env{}.All()) != 0 {
		t.Error("an Env of nothing has networks")
	}
}
