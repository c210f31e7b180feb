package wireguard_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

const psk = `"PSK": "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="`

var both = families{true, true}

func TestGuestPacketsPass(t *testing.T) {
	for _, config := range []string{`{}`, `{` + psk + `}`, `{"Mode": "auto"}`, `{"Mode": "ipv4"}`, `{"Mode": "ipv6"}`, `{"ListenPort": 7000, "ListenPortV6": 7001, "MTU": 1400}`} {
		t.Run(config, func(t *testing.T) {
			eachFamilies(t, func(t *testing.T, fs families) {
				if strings.Contains(config, "ipv4") && !fs[subnet.Inet] || strings.Contains(config, "ipv6") && !fs[subnet.Inet6] {
					return // refused, see the golden files
				}
				a, b := pair(t, config, fs)
				a.converge(t, b)
				b.converge(t, a)
				b.echo(t, fs)
				a.echo(t, fs)
				a.reach(t, b, fs)
				b.reach(t, a, fs)
				a.converge(t, b)
			})
		})
	}
}

func TestGuestOnlyPeersAreAccepted(t *testing.T) {
	a, b := pair(t, `{}`, both)
	a.converge(t, b)
	b.converge(t) // knows nobody
	b.echo(t, both)
	if err := a.Ping(t, b.pod(subnet.Inet), 100, time.Second); err == nil {
		t.Error("a node that does not know the sender answers")
	}
	b.configure(t, `{`+psk+`}`)
	b.converge(t, a)
	if err := a.Ping(t, b.pod(subnet.Inet), 100, 2*time.Second); err == nil {
		t.Error("a node with another preshared key answers")
	}
}

// TestGuestRestart holds that somebody without memory finds all as it should be, and that traffic does not notice.
func TestGuestRestart(t *testing.T) {
	a, b := pair(t, `{`+psk+`}`, both)
	a.converge(t, b)
	b.converge(t, a)
	b.echo(t, both)
	a.reach(t, b, both)
	flood := a.Flood(t, b.pod(subnet.Inet), 10*time.Millisecond)
	before := a.traffic(t, b)["flannel-wg"].Handshake
	for range 3 {
		again := newNode(t, a.NS, 1, `{`+psk+`}`, both)
		again.converge(t, b)
		if c := kernel.Diff(again.list(t), again.want(t, b)); !c.IsEmpty() {
			t.Fatalf("it would change something:\nput:\n%sdrop:\n%s", c.Put, c.Drop)
		}
		if err := a.Ping(t, b.pod(subnet.Inet6), 100, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if after := a.traffic(t, b)["flannel-wg"].Handshake; after != before {
		t.Errorf("the last handshake was at %d, and is at %d now", before, after)
	}
}

// TestGuestOthersAreLeftAlone holds that a change of one peer is none for the others.
func TestGuestOthersAreLeftAlone(t *testing.T) {
	a, b := pair(t, `{}`, both)
	c := newNode(t, kerneltest.NewNS(t), 3, `{}`, both)
	d := newNode(t, kerneltest.NewNS(t), 4, `{}`, both)
	a.converge(t, b, c)
	b.converge(t, a)
	b.echo(t, both)
	a.reach(t, b, both)
	flood := a.Flood(t, b.pod(subnet.Inet), 10*time.Millisecond)
	before := a.traffic(t, b)
	for range 2 {
		a.converge(t, b, d)
		a.converge(t, b, c, d)
		c.plan.WireGuardKey = keyOf("another")
		c.configure(t, `{}`)
		a.converge(t, b, c)
		c.plan.WireGuardKey = keyOf(c.plan.Name)
		c.configure(t, `{}`)
		a.converge(t, c, b)
	}
	if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	for link, x := range a.traffic(t, b) {
		if x.Handshake != before[link].Handshake || x.Received < before[link].Received {
			t.Errorf("%s: it was %+v and is %+v", link, before[link], x)
		}
	}
}

// TestGuestRepairs holds that what somebody else breaks is put right, and that it is told what is broken.
func TestGuestRepairs(t *testing.T) {
	a, b := pair(t, `{}`, both)
	a.converge(t, b)
	b.converge(t, a)
	b.echo(t, both)
	a.reach(t, b, both)
	key, other, port := wgtypes.Key(keyOf("somebody")), wgtypes.Key(keyOf("else")), 999
	peer := wgtypes.Key(b.publicKey(t))
	for name, config := range map[string]wgtypes.Config{
		"private key":   {PrivateKey: &key},
		"port":          {ListenPort: &port},
		"peers":         {ReplacePeers: true},
		"stranger":      {Peers: []wgtypes.PeerConfig{{PublicKey: other.PublicKey()}}},
		"allowed":       {Peers: []wgtypes.PeerConfig{{PublicKey: peer, UpdateOnly: true, ReplaceAllowedIPs: true}}},
		"preshared key": {Peers: []wgtypes.PeerConfig{{PublicKey: peer, UpdateOnly: true, PresharedKey: &other}}},
		"mark":          {FirewallMark: &port},
	} {
		t.Run(name, func(t *testing.T) {
			a.wg(t, "flannel-wg", config)
			if kernel.Diff(a.list(t), a.want(t, b)).IsEmpty() {
				t.Fatal("it is not seen")
			}
			a.converge(t, b)
			a.reach(t, b, both)
		})
	}
	a.Do(t, func() { del(t, "flannel-wg-v6") })
	a.converge(t, b)
	a.reach(t, b, both)
}

// TestGuestEndpoints holds that an endpoint that works is left alone, and one that was told anew is taken.
func TestGuestEndpoints(t *testing.T) {
	a, b := pair(t, `{}`, families{true, false})
	a.Do(t, func() { address(t, "eth0", "192.0.2.9/24") })
	a.converge(t, b)
	// b is told a wrong address of a, and learns the right one from a itself.
	told := *a
	told.lease.PublicIP[subnet.Inet] = netip.MustParseAddr("192.0.2.77")
	b.converge(t, &told)
	b.echo(t, families{true, false})
	a.echo(t, families{true, false})
	a.reach(t, b, families{true, false})
	b.converge(t, &told)
	if e := b.traffic(t, a)["flannel-wg"].Endpoint; e.Addr() != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("the endpoint is %s, want the one that was learned", e)
	}
	b.reach(t, a, families{true, false})
	// Told another one by a change of the lease, it takes that, though the old one still works.
	moved := *a
	moved.lease.PublicIP[subnet.Inet] = netip.MustParseAddr("192.0.2.9")
	if err := b.Apply(t.Context(), kernel.Diff(b.want(t, &told), b.want(t, &moved))); err != nil {
		t.Fatal(err)
	}
	if e := b.traffic(t, a)["flannel-wg"].Endpoint; e.Addr() != netip.MustParseAddr("192.0.2.9") {
		t.Errorf("the endpoint is %s, want the one that was told", e)
	}
	b.reach(t, a, families{true, false})
}

// TestGuestPresharedKeyIsChanged holds that a preshared key can be changed in place, on one node after the other.
func TestGuestPresharedKeyIsChanged(t *testing.T) {
	a, b := pair(t, `{}`, both)
	a.converge(t, b)
	b.converge(t, a)
	b.echo(t, both)
	a.reach(t, b, both)
	flood := a.Flood(t, b.pod(subnet.Inet), 10*time.Millisecond)
	for range 2 {
		a.configure(t, `{`+psk+`}`)
		a.converge(t, b)
		b.configure(t, `{`+psk+`}`)
		b.converge(t, a)
		a.configure(t, `{}`)
		a.converge(t, b)
		b.configure(t, `{}`)
		b.converge(t, a)
	}
	if err := a.Ping(t, b.pod(subnet.Inet), 100, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

func TestGuestPortInUse(t *testing.T) {
	a, b := pair(t, `{}`, families{true, false})
	a.Echo(t, netip.MustParseAddrPort("0.0.0.0:51820"))
	err := a.Apply(t.Context(), kernel.Diff(a.list(t), a.want(t, b)))
	if err == nil || !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "UDP port 51820") {
		t.Errorf("the error is %v, want one that names the port", err)
	}
}

// TestGuestTakeover holds that flanneld's route for the whole network serves until those to each peer are there.
func TestGuestTakeover(t *testing.T) {
	a, b := pair(t, `{}`, families{true, false})
	a.converge(t, b)
	b.converge(t, a)
	b.echo(t, families{true, false})
	a.reach(t, b, families{true, false})
	// As flanneld leaves it: one route for the whole network, and none of ours.
	a.Do(t, func() {
		link := device(t, "flannel-wg")
		whole := &netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipnet(networks[0])}
		if err := netlink.RouteReplace(whole); err != nil {
			t.Fatal(err)
		}
		if err := netlink.RouteDel(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipnet(b.lease.Subnets[0])}); err != nil {
			t.Fatal(err)
		}
	})
	flood := a.Flood(t, b.pod(subnet.Inet), time.Millisecond)
	a.converge(t, b)
	if err := a.Ping(t, b.pod(subnet.Inet), 100, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	a.holds(t, "route", "route 10.5.2.0/24 dev flannel-wg proto 87")
}

// TestGuestNothingInClear captures on the uplink while packets pass.
func TestGuestNothingInClear(t *testing.T) {
	a, b := pair(t, `{}`, both)
	a.converge(t, b)
	b.converge(t, a)
	b.echo(t, both)
	seen := b.capture(t)
	a.reach(t, b, both)
	frames := seen()
	if len(frames) < 4 {
		t.Fatalf("only %d frames were seen", len(frames))
	}
	for _, f := range subnet.Families {
		for _, n := range []*node{a, b} {
			addr := n.pod(f).Addr().AsSlice()
			for _, frame := range frames {
				if bytes.Contains(frame, addr) {
					t.Errorf("a frame shows %s:\n%x", n.pod(f).Addr(), frame)
				}
			}
		}
	}
}

// wg configures a device as somebody else would.
func (n *node) wg(t *testing.T, link string, config wgtypes.Config) {
	t.Helper()
	n.Do(t, func() {
		c, err := wgctrl.New()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.ConfigureDevice(link, config); err != nil {
			t.Fatal(fmt.Errorf("configure %s: %w", link, err))
		}
	})
}
