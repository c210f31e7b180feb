package peer_test

import (
	"encoding/json"
	"testing"

	"github.com/weft-network/weft/bench/peer"
	"github.com/weft-network/weft/subnet"
)

func TestNumbersComeBack(t *testing.T) {
	for _, i := range []int{0, 1, 255, 256, 4999, peer.Max - 1} {
		gateway, mac := peer.Gateway(i), peer.MAC(i)
		if got, ok := peer.ByGateway(gateway[:]); !ok || got != i {
			t.Errorf("gateway %v of peer %d is that of %d, %t", gateway, i, got, ok)
		}
		if got, ok := peer.ByMAC(mac[:]); !ok || got != i {
			t.Errorf("MAC %v of peer %d is that of %d, %t", mac, i, got, ok)
		}
	}
	for _, strange := range [][]byte{nil, {10, 0, 0, 0}, {10, 128, 0, 0}, {10, 1, 1, 1}, {192, 168, 0, 0}} {
		if i, ok := peer.ByGateway(strange); ok {
			t.Errorf("%v is taken for the gateway of peer %d", strange, i)
		}
	}
	for _, strange := range [][]byte{nil, {0x0e, 0x57, 0, 0, 255, 255}, {0x0e, 0x58, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 1}} {
		if i, ok := peer.ByMAC(strange); ok {
			t.Errorf("%v is taken for the MAC of peer %d", strange, i)
		}
	}
}

func TestConfigAndLeaseAreValid(t *testing.T) {
	if _, warnings, err := subnet.Parse(peer.Config); err != nil || len(warnings) > 0 {
		t.Errorf("config: error %v, warnings %q", err, warnings)
	}
	if !json.Valid([]byte(peer.Value(4999))) {
		t.Errorf("%s is not JSON", peer.Value(4999))
	}
	if got, want := peer.Key("/p", 258), "/p/subnets/10.2.2.0-24"; got != want {
		t.Errorf("key is %s, want %s", got, want)
	}
}
