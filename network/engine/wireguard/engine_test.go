package wireguard_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	backendwireguard "github.com/weft-network/weft/backend/wireguard"
	"github.com/weft-network/weft/network/kernel"
)

func TestTraffic(t *testing.T) {
	for _, test := range []struct {
		name, config string
		has          families
	}{
		{"IPv4", "{}", families{true, false}},
		{"IPv6", "{}", families{false, true}},
		{"dual", "{}", families{true, true}},
		{"both families in one device, with a secret", `{"Mode": "auto", "PSK": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}`, families{true, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := two(t, test.config, test.has)
			for _, to := range b.echoes(t, test.has) {
				a.Reach(t, to)
				for _, size := range []int{8, 1300, 60000} {
					if err := a.Ping(t, to, size, 20*time.Second); err != nil {
						t.Errorf("%d bytes to %s: %v", size, to, err)
					}
				}
			}
			list, err := a.engine.WireGuardTraffic(t.Context())
			if err != nil || len(list) == 0 {
				t.Fatalf("%v, %v", list, err)
			}
			for _, w := range list {
				if w.Handshake == 0 || w.Received < 60000 || w.Sent < 60000 || !w.Endpoint.IsValid() {
					t.Errorf("%+v", w)
				}
			}
			if said := a.engine.Warnings(); len(said) != 1 || !strings.Contains(said[0], "the kernel has no WireGuard") {
				t.Errorf("warnings %q", said)
			}
			a.settled(t)
			a.peers = nil
			if c := a.pass(t); len(c.Drop.WireGuardPeers) != len(list) {
				t.Errorf("dropped\n%s", c.Drop)
			}
			a.settled(t)
		})
	}
}

// The agent may end: the next one finds everything, and nothing is lost.
func TestAgentGone(t *testing.T) {
	has := families{true, true}
	a, b := two(t, "{}", has)
	to := b.echoes(t, has)
	a.Reach(t, to[0])
	flood := a.Flood(t, to[0], 10*time.Millisecond)
	for range 10 {
		a.engine = newEngine(a.dir)
		a.settled(t)
		must(t, a.Ping(t, to[0], 100, 5*time.Second))
	}
	if sent, lost := flood.Stop(t); lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

// Changes of a peer leave what is agreed on with it alone, and those of others too.
func TestPeersChangeInPlace(t *testing.T) {
	has := families{true, false}
	a, b := two(t, "{}", has)
	to := b.echoes(t, has)[0]
	a.Reach(t, to)
	flood := a.Flood(t, to, 10*time.Millisecond)
	other := newNode(t, 3, "{}", has)
	a.peers = append(a.peers, other)
	if c := a.pass(t); len(c.Put.WireGuardPeers) != 1 {
		t.Errorf("put\n%s", c.Put)
	}
	must(t, a.Ping(t, to, 100, 5*time.Second))
	a.plan.Uplinks[0].MTU = 1400
	if c := a.pass(t); len(c.Put.Links) != 1 || len(c.Put.WireGuardPeers) != 0 {
		t.Errorf("put\n%s", c.Put)
	}
	must(t, a.Ping(t, to, 100, 5*time.Second))
	a.peers = a.peers[:1]
	a.pass(t)
	must(t, a.Ping(t, to, 100, 5*time.Second))
	a.settled(t)
	if sent, lost := flood.Stop(t); lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

// The process may be killed: the agent is told at once, and its next pass mends everything.
func TestProcessKilled(t *testing.T) {
	has := families{true, true}
	a, b := two(t, "{}", has)
	to := b.echoes(t, has)
	a.Reach(t, to[0])
	var g errgroup.Group
	ctx, stop := context.WithCancel(t.Context())
	rung := make(chan struct{}, 100)
	g.Go(func() error { return a.engine.Run(ctx, func() { rung <- struct{}{} }) })
	defer g.Wait()
	defer stop()
	for _, p := range processes(t, a) {
		must(t, p.Kill())
	}
	<-rung
	if c := a.pass(t); len(c.Put.Links) != 2 || len(c.Put.WireGuardPeers) != 2 || !c.Drop.IsEmpty() {
		t.Errorf("put\n%sdropped\n%s", c.Put, c.Drop)
	}
	a.settled(t)
	a.Reach(t, to[0])
	a.Reach(t, to[1])
}

// processes are those that have the socket of x open.
func processes(t *testing.T, x *node) (list []*os.Process) {
	t.Helper()
	inode := ""
	x.Do(t, func() {
		text, err := os.ReadFile("/proc/thread-self/net/unix")
		must(t, err)
		for line := range strings.Lines(string(text)) {
			if words := strings.Fields(line); len(words) == 8 && words[7] == filepath.Join(x.dir, "wireguard.sock") && words[3] == "00010000" {
				inode = words[6]
			}
		}
	})
	fds, err := filepath.Glob("/proc/[0-9]*/fd")
	must(t, err)
	for _, dir := range fds {
		entries, _ := os.ReadDir(dir) // it may have ended
		if slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			target, _ := os.Readlink(filepath.Join(dir, e.Name()))
			return inode != "" && target == "socket:["+inode+"]"
		}) {
			n := 0
			for _, c := range filepath.Base(filepath.Dir(dir)) {
				n = n*10 + int(c-'0')
			}
			p, err := os.FindProcess(n)
			must(t, err)
			list = append(list, p)
		}
	}
	if len(list) != 1 {
		t.Fatalf("%d processes, want one", len(list))
	}
	return list
}

func TestDeviceGone(t *testing.T) {
	has := families{true, false}
	a, b := two(t, "{}", has)
	to := b.echoes(t, has)[0]
	a.Do(t, func() {
		link, err := netlink.LinkByName("flannel-wg")
		must(t, err)
		must(t, netlink.LinkDel(link))
	})
	for a.list(t).WireGuardPeers != nil { // the process notices by itself
	}
	a.converge(t)
	a.Reach(t, to)
}

func TestPortInUse(t *testing.T) {
	has := families{true, false}
	a, b := newNode(t, 1, "{}", has), newNode(t, 2, "{}", has)
	a.peers = []*node{b}
	a.Join(t, "eth0", b.NS, "eth0", []string{"192.0.2.1/24"}, []string{"192.0.2.2/24"})
	var conn *net.UDPConn
	a.Do(t, func() {
		var err error
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 51820})
		must(t, err)
	})
	defer conn.Close()
	_, err := a.tryPass(t)
	for _, part := range []string{"flannel-wg", "another program on this host has UDP port 51820"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error is %v, want one with %q", err, part)
		}
	}
	conn.Close()
	a.converge(t)
}

// Devices that the kernel has, or that are not there, are none of the engine's.
func TestNothing(t *testing.T) {
	e := newEngine(t.TempDir())
	ctx := t.Context()
	var s, p kernel.State
	p.Links.Add(kernel.Link{Name: "flannel-wg", WireGuard: kernel.WireGuard{Port: 1}})
	p.WireGuardPeers.Add(kernel.WireGuardPeer{Link: "flannel-wg", Allowed: netip.MustParsePrefix("10.5.2.0/24").String()})
	for _, err := range []error{e.List(ctx, &s), e.Put(ctx, p), e.Drop(ctx, p), e.End(ctx)} {
		must(t, err)
	}
	if list, err := e.WireGuardTraffic(ctx); !s.IsEmpty() || len(e.Warnings()) > 0 || len(list) > 0 || err != nil {
		t.Errorf("%s, %v, %v, %v", s, e.Warnings(), list, err)
	}
}

// A peer can be looked for elsewhere; one that is not there is not made by that.
func TestRedirect(t *testing.T) {
	a, b := two(t, "{}", families{true, false})
	to := netip.MustParseAddrPort("192.0.2.77:5")
	key, err := backendwireguard.PublicKey(b.plan.WireGuardKey)
	must(t, err)
	for _, p := range []kernel.WireGuardPeerKey{{Link: "flannel-wg", PublicKey: key}, {Link: "flannel-wg", PublicKey: kernel.PublicKey{1}},
		{Link: "flannel-wg-v6", PublicKey: key}} {
		must(t, a.engine.Redirect(t.Context(), p, to))
	}
	list, err := a.engine.WireGuardTraffic(t.Context())
	if err != nil || len(list) != 1 || list[0].Endpoint != to {
		t.Errorf("%+v, %v", list, err)
	}
	if c := a.pass(t); len(c.Put.WireGuardPeers) != 1 { // nobody answers there
		t.Errorf("put\n%s", c.Put)
	}
}
