package ipip_test

import (
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/backendtest"
	"github.com/weft-network/weft/backend/hostgw"
	"github.com/weft-network/weft/backend/ipip"
	"github.com/weft-network/weft/backend/vxlan"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

func TestGolden(t *testing.T) {
	backendtest.Golden(t, func(kind, config string) (backend.Backend, []string, error) {
		switch kind {
		case vxlan.Kind:
			return vxlan.New(config)
		case hostgw.Kind:
			return hostgw.New(config)
		}
		return ipip.New(config)
	})
}

// The firewall has to know which outer packets are the tunnel's: 4 is IPv4 in IP, 41 is IPv6 in IP.
func TestProtocols(t *testing.T) {
	var b ipip.Backend
	if got := [2]uint8{b.Protocol(subnet.Inet), b.Protocol(subnet.Inet6)}; got != [2]uint8{4, 41} {
		t.Errorf("protocols %v, want 4 and 41", got)
	}
}
