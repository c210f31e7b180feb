package ipsec

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/backend"
	backendipsec "github.com/weft-network/weft/backend/ipsec"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

const psk = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// node is a node with one pod, and what an agent would be there.
type node struct {
	*testing.T
	*kerneltest.NS
	pod     *kerneltest.NS
	n       int
	dir     string
	kern    *kernel.Kernel
	engine  *Engine
	stop    func() // ends the engine's Run
	looks   chan struct{}
	backend backend.Backend
	plan    backend.Node
	peers   []subnet.Lease
}

func addr(format string, n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, n)) }

// lease is the one of node n.
func lease(n int) subnet.Lease {
	return subnet.Lease{
		Subnets: subnet.Subnets{netip.PrefixFrom(addr("10.5.%d.0", n), 24), netip.PrefixFrom(addr("fd00:5:0:%d::", n), 64)},
		Attrs:   subnet.Attrs{Backend: backendipsec.Kind, PublicIP: [2]netip.Addr{addr("192.0.2.%d", n), addr("2001:db8::%d", n)}},
	}
}

// newNode makes node n with a pod, without a way to others.
func newNode(t *testing.T, n int, config string) *node {
	t.Helper()
	x := &node{T: t, NS: kerneltest.NewNS(t), pod: kerneltest.NewNS(t), n: n, dir: t.TempDir(), looks: make(chan struct{}, 100)}
	x.pod.Join(t, "eth0", x.NS, "pod0", []string{fmt.Sprintf("10.5.%d.2/24", n), fmt.Sprintf("fd00:5:0:%d::2/64", n)},
		[]string{fmt.Sprintf("10.5.%d.1/24", n), fmt.Sprintf("fd00:5:0:%d::1/64", n)})
	x.use(config)
	for f, u := range lease(n).PublicIP {
		x.plan.Networks[f].Prefix = []netip.Prefix{netip.MustParsePrefix("10.5.0.0/16"), netip.MustParsePrefix("fd00:5::/48")}[f]
		x.plan.Uplinks[f] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: u, Public: u}
	}
	x.plan.Subnets = lease(n).Subnets
	x.pod.Do(t, func() {
		link, err := netlink.LinkByName("eth0")
		must(t, err)
		must(t, netlink.LinkSetMTU(link, backend.MTU(x.backend, x.plan)))
		for _, gw := range []netip.Addr{addr("10.5.%d.1", n), addr("fd00:5:0:%d::1", n)} {
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw.AsSlice()}))
		}
	})
	x.Do(t, func() {
		var err error
		x.kern, err = kernel.Open()
		must(t, err)
		for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			must(t, os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0o644))
		}
	})
	t.Cleanup(x.kern.Close)
	x.begin()
	t.Cleanup(func() { // charon must not outlive the test
		if text, err := os.ReadFile(x.engine.charon.logFile()); err == nil && t.Failed() {
			t.Logf("charon of node %d said:\n%s", n, text)
		}
		x.peers = nil
		x.pass()
		x.stop()
	})
	return x
}

// use makes a backend of config that of the node.
func (x *node) use(config string) {
	x.Helper()
	b, _, err := backendipsec.New(config)
	must(x, err)
	x.backend = b
}

// begin makes an engine and runs it, as an agent that starts.
func (x *node) begin() {
	log := logrus.New()
	log.SetOutput(x.Output())
	x.engine = New(Options{Dir: x.dir, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error {
		return x.engine.Run(ctx, func() {
			select {
			case x.looks <- struct{}{}:
			default:
			}
		})
	})
	x.stop = func() {
		cancel()
		g.Wait()
		cancel()
	}
}

// wanted is what the node should hold.
func (x *node) wanted() (s kernel.State) {
	x.Helper()
	must(x, x.backend.Base(x.plan, subnet.Lease{Subnets: x.plan.Subnets}, &s))
	for _, p := range x.peers {
		must(x, x.backend.Peer(x.plan, p, &s))
	}
	return s
}

// pass does what an agent does, and returns what it changed.
func (x *node) pass() (c kernel.Change) {
	x.Helper()
	ctx, want := context.Background(), x.wanted()
	x.Do(x, func() {
		have, err := x.kern.List(ctx, kernel.Scope{}, nil)
		must(x, err)
		must(x, x.engine.List(ctx, &have))
		c = kernel.Diff(have, want)
		must(x, x.kern.ApplyAround(ctx, c, func(ctx context.Context) { must(x, x.engine.Put(ctx, c.Put)) }))
		must(x, x.engine.Drop(ctx, c.Drop))
	})
	return c
}

// two makes two nodes that are connected and know each other.
func two(t *testing.T, config string) (a, b *node) {
	t.Helper()
	a, b = newNode(t, 1, config), newNode(t, 2, config)
	a.Join(t, "eth0", b.NS, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"})
	a.peers, b.peers = []subnet.Lease{lease(2)}, []subnet.Lease{lease(1)}
	for _, x := range []*node{a, b} {
		for _, e := range x.echoes() {
			x.pod.Echo(t, e)
		}
	}
	return a, b
}

// meet has both do a pass and waits until their pods reach each other.
func meet(a, b *node) {
	a.Helper()
	for _, x := range []*node{a, b} {
		if c := x.pass(); c.IsEmpty() {
			a.Fatal("the first pass changed nothing")
		}
	}
	reach(a, b)
}

// echoes is where the pod of x answers.
func (x *node) echoes() []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(addr("10.5.%d.2", x.n), 7), netip.AddrPortFrom(addr("fd00:5:0:%d::2", x.n), 7)}
}

// reach waits until the pods reach each other in both families and both directions: keys take a while on a machine that has much to do.
func reach(a, b *node) {
	a.Helper()
	for _, x := range [][2]*node{{a, b}, {b, a}} {
		for _, to := range x[1].echoes() {
			deadline := time.Now().Add(5 * time.Minute)
			for x[0].pod.Ping(a, to, 8, 500*time.Millisecond) != nil {
				if time.Now().After(deadline) {
					a.Fatalf("%s does not answer", to)
				}
			}
		}
	}
}

// pid is the process of the node's charon, 0 if there is none.
func (x *node) pid() int {
	x.Helper()
	conn, err := net.Dial("unix", x.engine.charon.socket())
	if err != nil {
		return 0
	}
	defer conn.Close()
	pid, err := peer(conn)
	must(x, err)
	return pid
}

// looked waits until the engine has called look.
func (x *node) looked() {
	x.Helper()
	select {
	case <-x.looks:
	case <-time.After(5 * time.Minute):
		x.Fatal("the engine did not say within 5 min that something has changed")
	}
}
