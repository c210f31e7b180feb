package kernel_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel"
)

func TestDiffOfWireGuardPeers(t *testing.T) {
	const announced, internal, learned = "198.51.100.2:51820", "192.168.1.2:51820", "203.0.113.9:4711"
	want := kernel.WireGuardPeer{Link: "flannel-wg", PublicKey: kernel.PublicKey{1}, Endpoints: announced + "," + internal, Allowed: "10.5.2.0/24"}
	listed := func(endpoint string, fresh bool) kernel.WireGuardPeer {
		p := want
		p.Endpoints, p.Listed, p.Fresh = endpoint, true, fresh
		return p
	}
	with := func(p kernel.WireGuardPeer, change func(*kernel.WireGuardPeer)) kernel.WireGuardPeer {
		change(&p)
		return p
	}
	psk := func(p *kernel.WireGuardPeer) { p.PSK = kernel.Key{7} }
	for _, test := range []struct {
		name       string
		have, want kernel.WireGuardPeer
		put, stay  bool
	}{
		{"the best endpoint", listed(announced, false), want, false, false},
		{"another one of those that were told", listed(internal, false), want, false, false},
		{"one that was learned and works", listed(learned, true), want, false, false},
		{"one that was learned and works no more", listed(learned, false), want, true, false},
		{"none", listed("", false), want, true, false},
		{"another secret, endpoint learned", with(listed(learned, true), psk), want, true, true},
		{"another secret, endpoint stale", with(listed(learned, false), psk), want, true, false},
		{"other subnets", with(listed(announced, true), func(p *kernel.WireGuardPeer) { p.Allowed = "10.5.3.0/24" }), want, true, true},
		{"no keepalive", listed(announced, true), with(want, func(p *kernel.WireGuardPeer) { p.Keepalive = 25 }), true, true},
		{"plans: the same", want, want, false, false},
		{"plans: another secret", with(want, psk), want, true, true},
		{"plans: another place", with(want, func(p *kernel.WireGuardPeer) { p.Endpoints = learned }), want, true, false},
		{"plans: one place more", with(want, func(p *kernel.WireGuardPeer) { p.Endpoints = announced }), want, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var have, wanted kernel.State
			have.WireGuardPeers.Add(test.have)
			wanted.WireGuardPeers.Add(test.want)
			c := kernel.Diff(have, wanted)
			put, ok := c.Put.WireGuardPeers[want.Key()]
			if ok != test.put || put.Stay != test.stay || len(c.Drop.WireGuardPeers) > 0 {
				t.Errorf("put %t, stay %t, dropped %d; want %t, %t and none", ok, put.Stay, len(c.Drop.WireGuardPeers), test.put, test.stay)
			}
		})
	}
	var have kernel.State
	have.WireGuardPeers.Add(want)
	if c := kernel.Diff(have, kernel.State{}); len(c.Drop.WireGuardPeers) != 1 {
		t.Errorf("%d peers that nobody wants are dropped, want 1", len(c.Drop.WireGuardPeers))
	}
}

func TestWireGuardPeerText(t *testing.T) {
	p := kernel.WireGuardPeer{Link: "flannel-wg", PublicKey: kernel.PublicKey{1}, PSK: kernel.Key{9, 9, 9}, Keepalive: 25,
		Endpoints: kernel.EndpointText(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[2001:db8::1]:2"), netip.MustParseAddrPort("192.0.2.1:1")),
		Allowed:   kernel.AllowedText(netip.MustParsePrefix("10.5.9.0/24"), netip.MustParsePrefix("10.5.10.0/24"), netip.MustParsePrefix("10.5.9.0/24"))}
	const want = "wg flannel-wg peer AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= preshared-key (secret) " +
		"endpoint 192.0.2.1:1,[2001:db8::1]:2 persistent-keepalive 25 allowed-ips 10.5.9.0/24,10.5.10.0/24"
	if diff := cmp.Diff(want, p.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	link := kernel.Link{Name: "flannel-wg", WireGuard: kernel.WireGuard{PrivateKey: kernel.Key{9, 9, 9}, Port: 1}}
	for _, text := range []string{p.String(), link.String(), fmt.Sprintf("%v %+v %#v %x", p, p, p, p), fmt.Sprintf("%v %+v %#v %x", link, link, link, link)} {
		if strings.Contains(text, "090909") || strings.Contains(text, "9 9 9") || strings.Contains(text, "CQkJ") || strings.Contains(text, "0x9, 0x9") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

func FuzzWireGuardPeerText(f *testing.F) {
	for _, seed := range []string{"", ",", "192.0.2.1:1", "192.0.2.1:1,[2001:db8::1]:2,x", "10.5.0.0/16,fd00::/64", "[fe80::1%eth0]:1", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := kernel.WireGuardPeer{Endpoints: text, Allowed: text}
		again := kernel.WireGuardPeer{Endpoints: kernel.EndpointText(p.EndpointList()...), Allowed: kernel.AllowedText(p.AllowedList()...)}
		third := kernel.WireGuardPeer{Endpoints: kernel.EndpointText(again.EndpointList()...), Allowed: kernel.AllowedText(again.AllowedList()...)}
		if again != third {
			t.Errorf("written and read again %q becomes %q", again, third)
		}
	})
}
