package wireguard_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/backend"
	backendwireguard "github.com/weft-network/weft/backend/wireguard"
	"github.com/weft-network/weft/network/engine/child/childtest"
	"github.com/weft-network/weft/network/engine/wireguard"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// TestMain is also the program of the process that the tests start.
func TestMain(m *testing.M) { childtest.Main(m, wireguard.Serve) }

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

func newEngine(dir string) *wireguard.Engine {
	return wireguard.New(dir, childtest.Command(), quiet())
}

// node is a node of which the device has addresses of its own to be reached at, and what an agent would be there.
type node struct {
	*kerneltest.NS
	n       int
	dir     string
	kern    *kernel.Kernel
	engine  *wireguard.Engine
	backend backend.Backend
	plan    backend.Node
	lease   subnet.Lease
	peers   []*node
}

// families says which families a cluster has.
type families [2]bool

func addr(format string, n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, n)) }

// keyOf returns a private key as the kernel would keep it.
func keyOf(name string) kernel.Key {
	k := kernel.Key(sha256.Sum256([]byte(name)))
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k
}

func newNode(t *testing.T, n int, config string, has families) *node {
	t.Helper()
	x := &node{NS: kerneltest.NewNS(t), n: n, dir: t.TempDir()}
	x.Do(t, func() {
		var err error
		x.kern, err = kernel.Open()
		must(t, err)
	})
	t.Cleanup(x.kern.Close)
	x.engine = newEngine(x.dir)
	t.Cleanup(func() { must(t, x.engine.End(context.Background())) })
	x.plan.Name = fmt.Sprintf("n%d", n)
	x.plan.WireGuardKey = keyOf(x.plan.Name)
	for f, yes := range has {
		if !yes {
			continue
		}
		public := []netip.Addr{addr("192.0.2.%d", n), addr("2001:db8::%d", n)}[f]
		x.plan.Networks[f].Prefix = []netip.Prefix{netip.MustParsePrefix("10.5.0.0/16"), netip.MustParsePrefix("fd00:5::/48")}[f]
		x.lease.Subnets[f] = netip.PrefixFrom([]netip.Addr{addr("10.5.%d.0", n), addr("fd00:5:0:%d::", n)}[f], []int{24, 64}[f])
		x.plan.Uplinks[f] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: public, Public: public}
	}
	x.plan.Subnets = x.lease.Subnets
	x.configure(t, config)
	return x
}

// configure gives the node another config, or announces what has changed of it.
func (x *node) configure(t *testing.T, config string) {
	t.Helper()
	b, _, err := backendwireguard.New(config)
	must(t, err)
	x.backend = b
	x.lease.Attrs, err = b.Attrs(x.plan)
	must(t, err)
	x.lease.Node = x.plan.Name
}

// two makes two nodes that know each other and are connected.
func two(t *testing.T, config string, has families) (a, b *node) {
	t.Helper()
	a, b = newNode(t, 1, config, has), newNode(t, 2, config, has)
	a.Join(t, "eth0", b.NS, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"})
	a.peers, b.peers = []*node{b}, []*node{a}
	a.converge(t)
	b.converge(t)
	return a, b
}

func (x *node) wanted(t *testing.T) (s kernel.State) {
	t.Helper()
	must(t, x.backend.Base(x.plan, x.lease, &s))
	for _, p := range x.peers {
		must(t, x.backend.Peer(x.plan, p.lease, &s))
	}
	return s
}

// converge makes a pass that changes something and one that changes nothing.
func (x *node) converge(t *testing.T) {
	t.Helper()
	if c := x.pass(t); c.IsEmpty() {
		t.Fatal("the first pass changed nothing")
	}
	x.settled(t)
}

// settled makes a pass that changes nothing.
func (x *node) settled(t *testing.T) {
	t.Helper()
	if c := x.pass(t); !c.IsEmpty() {
		t.Fatalf("a further pass put\n%sand dropped\n%s", c.Put, c.Drop)
	}
}

// pass does what an agent does, and returns what it changed.
func (x *node) pass(t *testing.T) kernel.Change {
	t.Helper()
	c, err := x.tryPass(t)
	must(t, err)
	return c
}

func (x *node) tryPass(t *testing.T) (c kernel.Change, errPut error) {
	t.Helper()
	ctx, want := t.Context(), x.wanted(t)
	x.Do(t, func() {
		x.stand(t, want)
		have := x.list(t)
		c = kernel.Diff(have, want)
		must(t, x.kern.ApplyAround(ctx, c, func(ctx context.Context) {
			errPut = x.engine.Put(ctx, c.Put)
		}))
		must(t, x.engine.Drop(ctx, c.Drop))
	})
	return c, errPut
}

// stand makes the TUN devices that stand in for the devices of want: the kernel of the tests may have WireGuard.
func (x *node) stand(t *testing.T, want kernel.State) {
	t.Helper()
	if kernel.KnowsWireGuard() {
		must(t, unix.Mount("none", "/sys/module", "tmpfs", 0, ""))
	}
	have, err := x.kern.List(t.Context(), kernel.Scope{}, nil)
	must(t, err)
	var missing kernel.State
	for name, l := range want.Links {
		if _, ok := have.Links[name]; !ok {
			missing.Links.Add(kernel.Link{Name: name, MTU: l.MTU, Up: true, TUN: true})
		}
	}
	must(t, x.kern.Apply(t.Context(), kernel.Change{Put: missing}))
}

func (x *node) list(t *testing.T) kernel.State {
	t.Helper()
	have, err := x.kern.List(t.Context(), kernel.Scope{}, nil)
	must(t, err)
	must(t, x.engine.List(t.Context(), &have))
	return have
}

// echoes are what the node answers at, in the families of the cluster.
func (x *node) echoes(t *testing.T, has families) (list []netip.AddrPort) {
	t.Helper()
	for f, yes := range has {
		if yes {
			at := netip.AddrPortFrom([]netip.Addr{addr("10.5.%d.0", x.n), addr("fd00:5:0:%d::", x.n)}[f], 7)
			x.Echo(t, at)
			list = append(list, at)
		}
	}
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
