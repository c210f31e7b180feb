package main

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The bridge follows the lease: the next pod after a change of the node's subnet gets an address of the new one, and
// the bridge has the new gateway's address alone.
func TestBridgeFollowsLease(t *testing.T) {
	const changed = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.99.1/24\nFLANNEL_IPV6_NETWORK=fd00:5::/56\nFLANNEL_IPV6_SUBNET=fd00:5:0:9::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	const longer = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/25\nFLANNEL_IPV6_NETWORK=fd00:5::/56\nFLANNEL_IPV6_SUBNET=fd00:5:0:1::1/65\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	const elsewhere = "FLANNEL_NETWORK=10.6.0.0/16\nFLANNEL_SUBNET=10.6.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	tests := []struct {
		name     string
		env      string // after the change
		between  func(t *testing.T, h *host)
		delegate map[string]any
		bridge   []string
		pod      string // "" where ADD fails
		want     string // of the error
	}{
		{"other subnets", changed, nil, nil, []string{"10.5.99.1/24", "fd00:5:0:9::1/64"}, "10.5.99.2/24", ""},
		{"other subnets, and a stranger's address of IPv6", changed, addTo("cni0", "fd99::1/64"), nil, []string{"10.5.99.1/24", "fd00:5:0:9::1/64", "fd99::1/64"}, "10.5.99.2/24", ""},
		{"same start, other length", longer, nil, nil, []string{"10.5.72.1/25", "fd00:5:0:1::1/65"}, "10.5.72.3/25", ""},
		{"other network", elsewhere, nil, nil, []string{"10.6.1.1/24", "fd00:5:0:1::1/64"}, "10.6.1.2/24", ""},
		{"no change", envBoth, nil, nil, []string{"10.5.72.1/24", "fd00:5:0:1::1/64"}, "10.5.72.3/24", ""},
		{"a stranger's address after ours", envBoth, addTo("cni0", "192.168.7.1/24"), nil, []string{"10.5.72.1/24", "192.168.7.1/24", "fd00:5:0:1::1/64"}, "10.5.72.3/24", ""},
		{"a stranger's address, and the lease changed", changed, addTo("cni0", "192.168.7.1/24"), nil,
			[]string{"10.5.72.1/24", "192.168.7.1/24"}, "", `cni0 has the address 192.168.7.1/24, which is in none of this node's subnets: remove it with "ip address delete 192.168.7.1/24 dev cni0"`},
		{"other network, and nothing is known of the old one", elsewhere, forget, nil,
			[]string{"10.5.72.1/24", "fd00:5:0:1::1/64"}, "", `or set "forceAddress": true`},
		{"the user says no", changed, nil, map[string]any{"forceAddress": false}, []string{"10.5.72.1/24", "fd00:5:0:1::1/64"}, "", "already has an IP address different from 10.5.99.1/24"},
		{"the user says yes", elsewhere, forget, map[string]any{"forceAddress": true}, []string{"10.6.1.1/24", "fd00:5:0:1::1/64"}, "10.6.1.2/24", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, envBoth)
			h.add(t, newPod(t, "before"))
			h.write(t, "subnet.env", tt.env)
			if tt.between != nil {
				tt.between(t, h)
			}
			if tt.delegate != nil {
				h.config["delegate"] = tt.delegate
			}
			p := newPod(t, "after")
			_, err := h.call(t, "ADD", p)
			if tt.pod == "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if tt.pod != "" {
				if got := addrs(t, p.ns, "eth0"); err != nil || len(got) == 0 || got[0] != tt.pod {
					t.Errorf("pod has %q, error %v, want %s", got, err, tt.pod)
				}
			}
			if diff := cmp.Diff(tt.bridge, addrs(t, h.ns, "cni0")); diff != "" {
				t.Errorf("addresses of the bridge (-want +got):\n%s", diff)
			}
			h.must(t, "DEL", p)
		})
	}
}

// A bridge that lost its ports before it got a MAC address of its own, as when attaching a node's first pod failed, gets one.
func TestBridgeWithoutMAC(t *testing.T) {
	h := newHost(t, envBoth)
	h.ns.Do(t, func() {
		for _, args := range []string{
			"link add cni0 type bridge",
			"link add port type veth peer name other",
			"link set port master cni0",
			"link delete port",
		} {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v: %s", args, err, out)
			}
		}
	})
	mac := func() (mac [6]byte) {
		h.ns.Do(t, func() {
			var err error
			if mac, err = macOf("cni0"); err != nil {
				t.Fatal(err)
			}
		})
		return mac
	}
	if mac() != [6]byte{} {
		t.Fatalf("the bridge has %x before the first pod, want none", mac())
	}
	one := newPod(t, "one")
	h.must(t, "ADD", one)
	own := mac()
	if own == [6]byte{} || own[0]&3 != 2 {
		t.Errorf("the bridge has %x, want a unicast address, locally administered", own)
	}
	h.must(t, "ADD", newPod(t, "two"))
	h.must(t, "DEL", one)
	if mac() != own {
		t.Errorf("the bridge has %x when pods came and went, want %x as before", mac(), own)
	}
}

// addTo returns a change that gives a device an address.
func addTo(device, addr string) func(*testing.T, *host) {
	return func(t *testing.T, h *host) {
		h.ns.Do(t, func() {
			if out, err := exec.Command("ip", "address", "add", addr, "dev", device).CombinedOutput(); err != nil {
				t.Fatalf("ip (of iproute2): %v: %s", err, out)
			}
		})
	}
}

// forget loses every record.
func forget(t *testing.T, h *host) {
	if err := os.RemoveAll(h.file("data")); err != nil {
		t.Fatal(err)
	}
}

func TestBridgeName(t *testing.T) {
	tests := []struct{ name, delegate, want string }{
		{"default", `{}`, "cni0"},
		{"named", `{"bridge":"br7"}`, "br7"},
		{"vlan", `{"bridge":"br7","vlan":12}`, "br7.12"},
		{"no gateway", `{"isGateway":false}`, ""},
		{"default gateway", `{"isGateway":false,"isDefaultGateway":true}`, "cni0"},
		{"other delegate", `{"type":"ptp"}`, ""},
		{"user decides about addresses", `{"forceAddress":false}`, "cni0"},
		{"garbage", `{"vlan":"x"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseConf([]byte(`{"name":"cbr0","delegate":` + tt.delegate + `}`))
			if err != nil {
				t.Fatal(err)
			}
			d, err := c.delegate(mustEnv(t, envBoth))
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := bridgeName(d); ok != (tt.want != "") || ok && got != tt.want {
				t.Errorf("%q, %t, want %q", got, ok, tt.want)
			}
		})
	}
}

func TestInTheWay(t *testing.T) {
	tests := []struct{ name, env, addr, want string }{
		{"the gateway's own", envBoth, "10.5.72.1/24", ""},
		{"the gateway's own of IPv6", envBoth, "fd00:5:0:1::1/64", ""},
		{"any other", envBoth, "192.168.0.1/16", "192.168.0.1/16"},
		{"of another length", envBoth, "10.5.72.1/25", "10.5.72.1/25"},
		{"any other, but IPv4 is off", envInet6, "192.168.0.1/16", ""},
		{"IPv6 elsewhere", envBoth, "fd00:6::1/64", ""},
		{"IPv6 in the subnet", envBoth, "fd00:5:0:1::7/64", "fd00:5:0:1::7/64"},
		{"link-local", envBoth, "fe80::1/64", ""},
		{"link-local of IPv4", envBoth, "169.254.1.1/16", "169.254.1.1/16"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, a := range inTheWay([]netip.Prefix{netip.MustParsePrefix(tt.addr)}, mustEnv(t, tt.env)) {
				got += a.String()
			}
			if got != tt.want {
				t.Errorf("%q in the way, want %q", got, tt.want)
			}
		})
	}
}
