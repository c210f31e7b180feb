package peer_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

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

// TestNodesAreNodes holds that every field is one that Kubernetes knows, and that Nodes are as large as those in use.
func TestNodesAreNodes(t *testing.T) {
	for name, text := range map[string][]byte{
		"peer":      peer.Node(4999),
		"bare":      peer.BareNode("n", netip.MustParsePrefix("10.128.0.0/24"), netip.MustParseAddr("192.0.2.1")),
		"heartbeat": peer.Heartbeat("2026-01-01T00:00:05Z"),
	} {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		var n corev1.Node
		if err := d.Decode(&n); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(n.Status.Conditions) != 4 {
			t.Errorf("%s: %d conditions, want 4", name, len(n.Status.Conditions))
		}
		if name == "peer" && (len(text) < 6000 || n.Spec.PodCIDR != "10.20.135.0/24" || n.Annotations["flannel.alpha.coreos.com/public-ip"] != "192.168.20.250") {
			t.Errorf("%d bytes, pod CIDR %s, annotations %v", len(text), n.Spec.PodCIDR, n.Annotations)
		}
	}
}
