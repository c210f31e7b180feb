package backend_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/hostgw"
	"github.com/weft-network/weft/backend/vxlan"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// dual is a node with both families and different uplinks.
func dual() backend.Node {
	n := backend.Node{Name: "node-a"}
	n.Networks[subnet.Inet].Prefix = netip.MustParsePrefix("10.5.0.0/16")
	n.Networks[subnet.Inet6].Prefix = netip.MustParsePrefix("fd00:5::/56")
	a, a6 := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("2001:db8::1")
	n.Uplinks[subnet.Inet] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: a, Public: a}
	n.Uplinks[subnet.Inet6] = backend.Uplink{Link: "eth1", MTU: 1510, Addr: a6, Public: a6}
	return n
}

func TestMTU(t *testing.T) {
	tunnel, _, err := vxlan.New("{}")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		b      backend.Backend
		change func(*backend.Node)
		want   int
	}{
		{"smallest of both", tunnel, func(*backend.Node) {}, 1440},
		{"without overhead", hostgw.Backend{}, func(*backend.Node) {}, 1500},
		{"IPv4 is off", tunnel, func(n *backend.Node) { n.Networks[subnet.Inet] = subnet.Network{} }, 1440},
		{"IPv6 is off", tunnel, func(n *backend.Node) { n.Networks[subnet.Inet6] = subnet.Network{} }, 1450},
		{"no IPv6 uplink", tunnel, func(n *backend.Node) { n.Uplinks[subnet.Inet6] = backend.Uplink{} }, 1450},
		{"no uplink", tunnel, func(n *backend.Node) { n.Uplinks = [2]backend.Uplink{} }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := dual()
			test.change(&n)
			if got := backend.MTU(test.b, n); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestAnnounceNeedsEveryUplink(t *testing.T) {
	n := dual()
	n.Uplinks = [2]backend.Uplink{}
	_, err := n.Announce("vxlan")
	if err == nil || !strings.Contains(err.Error(), "10.5.0.0/16") || !strings.Contains(err.Error(), "fd00:5::/56") {
		t.Errorf("error is %v, want one that names both networks", err)
	}
}

func TestMerge(t *testing.T) {
	route := kernel.Route{Dst: netip.MustParsePrefix("10.5.2.0/24"), Link: "eth0", Via: netip.MustParseAddr("192.168.1.2")}
	elsewhere := route
	elsewhere.Via = netip.MustParseAddr("192.168.1.3")
	neighbour := kernel.Neighbour{Link: "flannel.1", IP: netip.MustParseAddr("10.5.3.0"), MAC: kernel.MAC{2}}

	var s, same, other kernel.State
	s.Routes.Add(route)
	same.Routes.Add(route)
	same.Neighbours.Add(neighbour)
	if err := backend.Merge(&s, same); err != nil {
		t.Fatalf("merge a state that agrees: %v", err)
	}
	if diff := cmp.Diff(same.String(), s.String()); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}

	other.Routes.Add(elsewhere)
	other.Neighbours.Add(kernel.Neighbour{Link: "flannel.1", IP: netip.MustParseAddr("10.5.4.0")})
	err := backend.Merge(&s, other)
	if err == nil || !strings.Contains(err.Error(), "via 192.168.1.2") || !strings.Contains(err.Error(), "via 192.168.1.3") {
		t.Errorf("error is %v, want one that names both routes", err)
	}
	if diff := cmp.Diff(same.String(), s.String()); diff != "" {
		t.Errorf("changed in spite of the error (-want +got):\n%s", diff)
	}
}

func TestExplainKeepsTheError(t *testing.T) {
	cause := errors.New("it rains")
	peer := subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.2.0/24")}, Attrs: subnet.Attrs{Node: "node-b"}}
	err := backend.Explain(peer, cause)
	if !errors.Is(err, cause) || err.Error() != "peer 10.5.2.0/24 of node node-b: it rains" {
		t.Errorf("got %v", err)
	}
}
