package kube

import (
	"strings"
	"testing"

	"github.com/weft-network/weft/subnet"
)

// The pod CIDRs of a Node may lie in any of the config's networks.
func TestPodCIDRsInNetworks(t *testing.T) {
	const (
		one = `{"Network": "10.5.0.0/16"}`
		two = `{"Network": "10.5.0.0/16", "Networks": [{"Network": "10.6.0.0/16"}]}`
		all = `{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Networks": [{"Network": "10.6.0.0/16"}, {"IPv6Network": "fd00:6::/48"}]}`
	)
	for _, tt := range []struct {
		name, config string
		cidrs        []string
		want         string // the subnets, or a part of the error
	}{
		{"first", two, []string{"10.5.7.0/24"}, "10.5.7.0/24"},
		{"further, of another length", two, []string{"10.6.7.0/25"}, "10.6.7.0/25"},
		{"further in both", all, []string{"10.6.7.0/24", "fd00:6:0:7::/64"}, "10.6.7.0/24,fd00:6:0:7::/64"},
		{"one of each", all, []string{"fd00:6:0:7::/64", "10.5.7.0/24"}, "10.5.7.0/24,fd00:6:0:7::/64"},
		{"in no network", two, []string{"10.7.7.0/24"}, "pod CIDR 10.7.7.0/24 of Node n is not inside one of the networks 10.5.0.0/16, 10.6.0.0/16 of net-conf.json: add the network that it is a part of to Networks"},
		{"larger than a further network", two, []string{"10.6.0.0/15"}, "pod CIDR 10.6.0.0/15 of Node n is not inside one of"},
		{"not in the only network", one, []string{"10.6.7.0/24"}, "is not inside the network 10.5.0.0/16 of net-conf.json: make the network the --cluster-cidr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := subnet.Parse(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			s, err := New(Options{Node: "n"})
			if err != nil {
				t.Fatal(err)
			}
			n := &Node{}
			n.Name, n.Spec.PodCIDRs = "n", tt.cidrs
			got, err := s.subnets(n, c)
			if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && got.String() != tt.want {
				t.Errorf("subnets %s, %v: want %s", got, err, tt.want)
			}
		})
	}
}
