package network

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// byWireGuard is the way of the default config.
const byWireGuard = "wireguard (a device for each family, at ports 51820 and 51821)"

// pod is an address in the subnet of a node, on which something answers.
func (c *nodes) pod(i int) netip.AddrPort {
	c.t.Helper()
	own := netip.MustParsePrefix(c.agents[i].Status().Lease.Subnets[0])
	return netip.AddrPortFrom(own.Addr().Next().Next(), 7)
}

// withPods puts one pod on each node, on its loopback device, and a file for the key of each.
func withPods(t *testing.T, c *nodes) {
	t.Helper()
	for i := range c.agents {
		pod := c.pod(i)
		c.spaces[i].Do(t, func() {
			lo, err := netlink.LinkByName("lo")
			must(t, err)
			a, err := netlink.ParseAddr(pod.Addr().String() + "/32")
			must(t, err)
			must(t, netlink.AddrAdd(lo, a))
		})
		c.spaces[i].Echo(t, pod)
		c.stop(i)
		c.options[i].KeyFile = filepath.Join(t.TempDir(), "state", "wireguard.key")
		c.start(i)
	}
	c.converge()
}

// guardOf lists the rules against plain text, or says why it cannot.
func guardOf(t *testing.T, ns *kerneltest.NS) (text string) {
	ns.Do(t, func() {
		out, err := exec.CommandContext(t.Context(), "nft", "-s", "list", "chain", "inet", "weft", "guard").CombinedOutput()
		text = string(out)
		if err != nil {
			text += err.Error()
		}
	})
	return text
}

// TestGuestBackendChangesToWireGuard changes to WireGuard and back while pods talk.
func TestGuestBackendChangesToWireGuard(t *testing.T) {
	for _, from := range []struct{ config, way string }{
		{`{"Type":"vxlan"}`, "vxlan (VNI 1 at port 8472)"},
		{`{"Type":"host-gw"}`, "host-gw"},
	} {
		t.Run(from.way, func(t *testing.T) {
			c := newNodes(t, 2, backendConfig(from.config))
			withPods(t, c)
			to := c.pod(1)
			c.spaces[0].Reach(t, to)
			flood := c.spaces[0].Flood(t, to, 10*time.Millisecond)
			c.cluster.SetConfig(backendConfig(`{"Type":"wireguard"}`))
			c.moved(byWireGuard)
			must(t, c.spaces[0].Ping(t, to, 1200, patience))
			if got := c.devices(0); !slices.Equal(got, []string{"flannel-wg"}) {
				t.Errorf("devices %q, want flannel-wg alone", got)
			}
			for i, a := range c.agents {
				until(t, a, "a handshake", func(s Status) bool { return len(s.Peers[0].WireGuard) == 1 && s.Peers[0].WireGuard[0].Handshake != nil })
				until(t, a, "the guard", func(Status) bool { return strings.Contains(guardOf(t, c.spaces[i]), `oifname "flannel-wg"`) })
			}
			c.restartsWithoutChange()
			must(t, c.spaces[0].Ping(t, to, 1200, patience))
			c.cluster.SetConfig(backendConfig(from.config))
			c.moved(from.way)
			must(t, c.spaces[0].Ping(t, to, 1200, patience))
			if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
				t.Errorf("%d of %d packets lost", lost, sent)
			}
			for i, a := range c.agents {
				until(t, a, "no guard", func(Status) bool { return !strings.Contains(guardOf(t, c.spaces[i]), "drop") })
			}
		})
	}
}

// TestGuestWireGuardKeyIsKept holds that a node has the same key after a boot, and that nothing leaves in plain text without its
// agent.
func TestGuestWireGuardKeyIsKept(t *testing.T) {
	c := newNodes(t, 2, backendConfig(`{"Type":"wireguard"}`))
	before := c.cluster.Leases()
	withPods(t, c) // they find the keys in their devices, and write them down
	to := c.pod(1)
	c.spaces[0].Reach(t, to)
	for i := range c.agents {
		info, err := os.Stat(c.options[i].KeyFile)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("the key file has the mode %s", info.Mode())
		}
		c.stop(i)
	}
	route := func(f func(*netlink.Route) error, r netlink.Route, link string) {
		c.spaces[0].Do(t, func() {
			l, err := netlink.LinkByName(link)
			must(t, err)
			r.LinkIndex = l.Attrs().Index
			must(t, f(&r))
		})
	}
	dst, err := netlink.ParseIPNet(netip.PrefixFrom(to.Addr(), 32).String())
	must(t, err)
	clear := netlink.Route{Dst: dst, Gw: []byte{192, 0, 2, 2}}
	route(netlink.RouteAdd, clear, "eth0")
	if err := c.spaces[0].Ping(t, to, 100, time.Second); err == nil {
		t.Error("a packet left in plain text and was answered")
	}
	route(netlink.RouteDel, clear, "eth0")
	must(t, c.spaces[0].Ping(t, to, 100, patience))
	for i := range c.agents {
		c.spaces[i].Do(t, func() { // as a boot does
			l, err := netlink.LinkByName("flannel-wg")
			must(t, err)
			must(t, netlink.LinkDel(l))
		})
		c.start(i)
	}
	c.converge()
	c.spaces[0].Reach(t, to)
	for i, l := range c.cluster.Leases() {
		if l.Data != before[i].Data {
			t.Errorf("node %s announced %s, and %s after a boot", l.Node, before[i].Data, l.Data)
		}
	}
	// The key of flanneld is taken over by a node that has none.
	c.stop(0)
	must(t, os.Rename(c.options[0].KeyFile, filepath.Join(filepath.Dir(c.options[0].SubnetFile), flannelKeyFile)))
	c.spaces[0].Do(t, func() {
		l, err := netlink.LinkByName("flannel-wg")
		must(t, err)
		must(t, netlink.LinkDel(l))
	})
	c.start(0)
	c.converge()
	if l := c.cluster.Leases(); l[0].Data != before[0].Data {
		t.Errorf("node %s announced %s, and %s with flanneld's key", l[0].Node, before[0].Data, l[0].Data)
	}
}
