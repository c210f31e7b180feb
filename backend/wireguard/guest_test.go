package wireguard_test

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/wireguard"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// TestMain lets tests whose names begin with TestGuest run in virtual machines alone: they need a kernel that has WireGuard.
func TestMain(m *testing.M) { kerneltest.Main(m) }

// node is a namespace with a backend and a kernel: node i has the addresses 192.0.2.i and 2001:db8::i, and the subnets
// 10.5.i.0/24 and fd00:5:0:i::/64.
type node struct {
	*kerneltest.NS
	*kernel.Kernel
	wireguard.Backend
	i     int
	plan  backend.Node
	lease subnet.Lease
}

var networks = [2]netip.Prefix{netip.MustParsePrefix("10.5.0.0/16"), netip.MustParsePrefix("fd00:5::/48")}

// families says which families a test uses.
type families [2]bool

func (fs families) String() string {
	return map[families]string{{true, false}: "IPv4", {false, true}: "IPv6", {true, true}: "dual"}[fs]
}

func eachFamilies(t *testing.T, f func(t *testing.T, fs families)) {
	for _, fs := range []families{{true, false}, {false, true}, {true, true}} {
		t.Run(fs.String(), func(t *testing.T) { f(t, fs) })
	}
}

// pair makes two nodes on one link.
func pair(t *testing.T, config string, fs families) (a, b *node) {
	t.Helper()
	x, y := kerneltest.NewNS(t), kerneltest.NewNS(t)
	x.Join(t, "eth0", y, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"})
	return newNode(t, x, 1, config, fs), newNode(t, y, 2, config, fs)
}

func newNode(t *testing.T, ns *kerneltest.NS, i int, config string, fs families) *node {
	t.Helper()
	n := &node{NS: ns, i: i}
	n.plan.Name = fmt.Sprintf("node-%d", i)
	n.plan.WireGuardKey = keyOf(n.plan.Name)
	addrs := [2]string{fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("2001:db8::%d", i)}
	subnets := [2]string{fmt.Sprintf("10.5.%d.0/24", i), fmt.Sprintf("fd00:5:0:%d::/64", i)}
	for _, f := range subnet.Families {
		if !fs[f] {
			continue
		}
		addr := netip.MustParseAddr(addrs[f])
		n.plan.Networks[f].Prefix = networks[f]
		n.plan.Uplinks[f] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: addr, Public: addr}
		n.lease.Subnets[f] = netip.MustParsePrefix(subnets[f])
	}
	ns.Do(t, func() {
		var err error
		if n.Kernel, err = kernel.Open(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(n.Kernel.Close)
	n.configure(t, config)
	return n
}

// keyOf returns a private key as the kernel keeps it.
func keyOf(name string) kernel.Key {
	k := kernel.Key(sha256.Sum256([]byte(name)))
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k
}

// configure gives the node another config.
func (n *node) configure(t *testing.T, config string) {
	t.Helper()
	var err error
	if n.Backend, _, err = wireguard.New(config); err != nil {
		t.Fatal(err)
	}
	if n.lease.Attrs, err = n.Attrs(n.plan); err != nil {
		t.Fatal(err)
	}
	n.lease.Node = n.plan.Name
}

// want is what the node's kernel should hold with these peers.
func (n *node) want(t *testing.T, peers ...*node) kernel.State {
	t.Helper()
	var s kernel.State
	if err := n.Base(n.plan, n.lease, &s); err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if err := n.Peer(n.plan, p.lease, &s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (n *node) list(t *testing.T) kernel.State {
	t.Helper()
	var scope kernel.Scope
	for f, own := range n.lease.Subnets {
		if own.IsValid() {
			scope.Networks = append(scope.Networks, kernel.Subnetwork{Prefix: networks[f], SubnetLen: own.Bits()})
		}
	}
	s, err := n.List(t.Context(), scope, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// converge makes the kernel hold what the node wants, and checks that a second pass would change nothing.
func (n *node) converge(t *testing.T, peers ...*node) {
	t.Helper()
	want := n.want(t, peers...)
	if err := n.Apply(t.Context(), kernel.Diff(n.list(t), want)); err != nil {
		t.Fatal(err)
	}
	if c := kernel.Diff(n.list(t), want); !c.IsEmpty() {
		t.Fatalf("a second pass would change something:\nput:\n%sdrop:\n%s", c.Put, c.Drop)
	}
}

// pod is the address of the node's own device in a family, which takes the part of a pod.
func (n *node) pod(f subnet.Family) netip.AddrPort {
	return netip.AddrPortFrom(n.lease.Subnets[f].Addr(), 7)
}

// echo answers on the addresses of the node's devices.
func (n *node) echo(t *testing.T, fs families) {
	t.Helper()
	for _, f := range subnet.Families {
		if fs[f] {
			n.Echo(t, n.pod(f))
		}
	}
}

// reach holds that packets of n reach the pods of p in all families.
func (n *node) reach(t *testing.T, p *node, fs families) {
	t.Helper()
	for _, f := range subnet.Families {
		if fs[f] {
			n.Reach(t, p.pod(f))
			if err := n.Ping(t, p.pod(f), 1200, 10*time.Second); err != nil {
				t.Fatalf("%s from %s to %s: %v", f, n.plan.Name, p.plan.Name, err)
			}
		}
	}
}

// traffic returns what the node's devices count of the peer p, by device.
func (n *node) traffic(t *testing.T, p *node) map[string]kernel.WireGuardTraffic {
	t.Helper()
	list, err := n.WireGuardTraffic(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, err := wireguard.PublicKey(p.plan.WireGuardKey)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]kernel.WireGuardTraffic{}
	for _, x := range list {
		if x.PublicKey == key {
			found[x.Link] = x
		}
	}
	return found
}

// holds checks that the lines are all that the kernel holds of the kind that each begins with.
func (n *node) holds(t *testing.T, kind string, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(n.list(t).String()) {
		if strings.HasPrefix(line, kind+" ") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s of %s (-want +got):\n%s", kind, n.plan.Name, diff)
	}
}
