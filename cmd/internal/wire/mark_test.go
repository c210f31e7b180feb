package wire_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// TestDevicesOfAnotherNetwork holds that every backend names all its devices by the network that they are of, and plans the same
// otherwise.
func TestDevicesOfAnotherNetwork(t *testing.T) {
	blue := kernel.Mark{Name: "blue", Number: 1}
	for name, config := range map[string]string{
		"vxlan":     `{"Type":"vxlan","VNI":7}`,
		"ipip":      `{"Type":"ipip"}`,
		"udp":       `{"Type":"udp"}`,
		"wireguard": `{"Type":"wireguard"}`,
		"one":       `{"Type":"wireguard","Mode":"auto"}`,
		"ipsec":     `{"Type":"ipsec","PSK":"` + strings.Repeat("0123456789abcdef", 6) + `"}`,
		"host-gw":   `{"Type":"host-gw"}`,
	} {
		t.Run(name, func(t *testing.T) {
			kind := name
			if kind == "one" {
				kind = "wireguard"
			}
			b, _, err := wire.Backend(kind, config)
			if err != nil {
				t.Fatal(err)
			}
			plain := whole(t, kind, b, kernel.Mark{})
			want := regexp.MustCompile(`flannel[-.a-z0-9]+`).ReplaceAllStringFunc(plain, blue.Device)
			if kind != "host-gw" && !strings.Contains(want, "blue") {
				t.Fatalf("no device of the network's in\n%s", plain)
			}
			if diff := cmp.Diff(want, whole(t, kind, b, blue)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// whole is the state that a node with one peer has in a network, in text.
func whole(t *testing.T, kind string, b backend.Backend, m kernel.Mark) string {
	t.Helper()
	config, _, err := subnet.Parse(`{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"` + kind + `"}}`)
	if err != nil {
		t.Fatal(err)
	}
	lease := func(i string, key byte) (backend.Node, subnet.Lease) {
		inet, inet6 := netip.MustParseAddr("192.0.2."+i), netip.MustParseAddr("2001:db8::"+i)
		n := backend.Node{Name: "n" + i, Mark: m, Networks: config.Networks, WireGuardKey: kernel.Key{1: key}, Uplinks: [2]backend.Uplink{
			{Link: "eth0", MTU: 1500, Addr: inet, Public: inet, OnLink: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
			{Link: "eth0", MTU: 1500, Addr: inet6, Public: inet6, OnLink: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}},
		}}
		n.Subnets = subnet.Subnets{netip.MustParsePrefix("10.5." + i + ".0/24"), netip.MustParsePrefix("fd00:5:0:" + i + "::/64")}
		attrs, err := b.Attrs(n)
		if err != nil {
			t.Fatal(err)
		}
		attrs.Node = n.Name
		n.Kept = attrs
		return n, subnet.Lease{Subnets: n.Subnets, Attrs: attrs}
	}
	n, own := lease("1", 1)
	_, peer := lease("2", 2)
	var s kernel.State
	if err := b.Base(n, own, &s); err != nil {
		t.Fatal(err)
	}
	if err := b.Peer(n, peer, &s); err != nil {
		t.Fatal(err)
	}
	return s.String()
}
