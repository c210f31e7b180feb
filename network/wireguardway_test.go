package network

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/wireguard"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/memory"
)

// TestWireGuardsBesideEachOther holds that devices of two configs can be there at the same time, and that a config whose devices
// would need a port of the others is refused.
func TestWireGuardsBesideEachOther(t *testing.T) {
	for _, test := range []struct {
		name, from, to string
		suffix, fault  string
	}{
		{"other ports", `{}`, `{"ListenPort":7000,"ListenPortV6":7001}`, "b", ""},
		{"one port is the same", `{}`, `{"ListenPort":7000}`, "", "needs UDP port 51821, which wireguard (a device for each family, at ports 51820 and 51821) has"},
		{"another mode at the same port", `{}`, `{"Mode":"auto"}`, "", "needs UDP port 51820"},
		{"another mode at another port", `{}`, `{"Mode":"auto","ListenPort":7000}`, "b", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster := memory.New()
			a := &Agent{o: Options{Node: "n1", Store: cluster.Store(), Log: testLog(t)}}
			a.loop.secret.key = kernel.Key{1}
			own := subnet.Lease{Attrs: subnet.Attrs{Node: "n1"}}
			for f, s := range []string{"10.5.0.0/16 10.5.1.0/24 192.0.2.1", "fd00:5::/48 fd00:5:0:1::/64 2001:db8::1"} {
				words := strings.Fields(s)
				a.loop.config.Networks[f].Prefix, own.Subnets[f] = netip.MustParsePrefix(words[0]), netip.MustParsePrefix(words[1])
				addr := netip.MustParseAddr(words[2])
				a.loop.uplinks[f] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: addr, Public: addr}
			}
			a.picture.load(subnet.Saved{Own: own})
			var ways [2]way
			for i, config := range []string{test.from, test.to} {
				b, _, err := wireguard.New(config)
				must(t, err)
				ways[i] = newWay(wireguard.Kind, config, b)
			}
			err := a.fitIn(&ways[1], ways[:1])
			switch {
			case test.fault == "" && (err != nil || ways[1].Suffix != test.suffix):
				t.Errorf("suffix %q, error %v; want %q", ways[1].Suffix, err, test.suffix)
			case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
				t.Errorf("error %v, want %q in it", err, test.fault)
			}
		})
	}
}
