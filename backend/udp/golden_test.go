package udp_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/backendtest"
	"github.com/weft-network/weft/backend/udp"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

func TestGolden(t *testing.T) {
	backendtest.Golden(t, func(_, config string) (backend.Backend, []string, error) { return udp.New(config) })
}

// Two with different ports can be there at the same time: they have no object in common but that the one peer has one route.
func TestBesideAnother(t *testing.T) {
	n := backend.Node{Name: "node-a"}
	n.Networks[subnet.Inet].Prefix = netip.MustParsePrefix("10.5.0.0/16")
	a := netip.MustParseAddr("192.168.1.1")
	n.Uplinks[subnet.Inet] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: a, Public: a}
	own := subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.1.0/24")}}
	old, _, err := udp.New("{}")
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := udp.New(`{"Port": 8286}`)
	if err != nil {
		t.Fatal(err)
	}
	if old.Agreed() == b.Agreed() {
		t.Errorf("both agree to %s", b.Agreed())
	}
	var x, y kernel.State
	if err := old.Base(n, own, &x); err != nil {
		t.Fatal(err)
	}
	if err := b.Renamed("b").Base(n, own, &y); err != nil {
		t.Fatal(err)
	}
	if err := backend.Merge(&x, y); err != nil || x.Len() != 6 || !strings.Contains(x.String(), "udp dev flannel0b local 192.168.1.1:8286") {
		t.Errorf("%v\n%s", err, x)
	}
}
