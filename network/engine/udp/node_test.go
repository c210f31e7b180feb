package udp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/backend"
	backendudp "github.com/weft-network/weft/backend/udp"
	"github.com/weft-network/weft/network/engine/udp"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// node is a node with one pod, and what an agent would be there.
type node struct {
	*kerneltest.NS
	pod     *kerneltest.NS
	n       int
	dir     string
	kern    *kernel.Kernel
	engine  *udp.Engine
	backend backend.Backend
	plan    backend.Node
	lease   subnet.Lease
	peers   []subnet.Lease
}

// families says which families a cluster has.
type families [2]bool

func addr(format string, n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, n)) }

// newNode makes node n of a cluster with a pod, without a way to others.
func newNode(t *testing.T, n int, has families) *node {
	t.Helper()
	x := &node{NS: kerneltest.NewNS(t), pod: kerneltest.NewNS(t), n: n, dir: t.TempDir()}
	x.pod.Join(t, "eth0", x.NS, "pod0", []string{fmt.Sprintf("10.5.%d.2/24", n), fmt.Sprintf("fd00:5:0:%d::2/64", n)},
		[]string{fmt.Sprintf("10.5.%d.1/24", n), fmt.Sprintf("fd00:5:0:%d::1/64", n)})
	x.pod.Do(t, func() {
		link, err := netlink.LinkByName("eth0")
		must(t, err)
		must(t, netlink.LinkSetMTU(link, 1452)) // what fits through the tunnel in both families
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
	x.engine = newEngine(x.dir)
	t.Cleanup(func() { must(t, x.engine.End(context.Background())) })
	x.use(t, "{}")
	x.plan.Name = fmt.Sprintf("n%d", n)
	x.lease.Attrs = subnet.Attrs{Node: x.plan.Name, Backend: backendudp.Kind}
	for f, yes := range has {
		if !yes {
			continue
		}
		x.plan.Networks[f].Prefix = []netip.Prefix{netip.MustParsePrefix("10.5.0.0/16"), netip.MustParsePrefix("fd00:5::/48")}[f]
		x.lease.Subnets[f] = netip.PrefixFrom([]netip.Addr{addr("10.5.%d.0", n), addr("fd00:5:0:%d::", n)}[f], []int{24, 64}[f])
		x.lease.PublicIP[f] = []netip.Addr{addr("192.0.2.%d", n), addr("2001:db8::%d", n)}[f]
		x.plan.Uplinks[f] = backend.Uplink{Link: "eth0", MTU: 1500, Addr: x.lease.PublicIP[f], Public: x.lease.PublicIP[f]}
	}
	return x
}

// two makes two nodes that know each other and are connected.
func two(t *testing.T, has families) (a, b *node) {
	t.Helper()
	a, b = newNode(t, 1, has), newNode(t, 2, has)
	a.Join(t, "eth0", b.NS, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"})
	a.peers, b.peers = []subnet.Lease{b.lease}, []subnet.Lease{a.lease}
	for _, x := range []*node{a, b} {
		if c := x.pass(t); c.IsEmpty() {
			t.Fatal("the first pass changed nothing")
		}
		if c := x.pass(t); !c.IsEmpty() {
			t.Fatalf("the second pass put\n%sand dropped\n%s", c.Put, c.Drop)
		}
	}
	return a, b
}

// use makes a backend of config that of the node.
func (x *node) use(t *testing.T, config string) {
	t.Helper()
	b, _, err := backendudp.New(config)
	must(t, err)
	x.backend = b
}

// wanted is what the node should hold.
func (x *node) wanted(t *testing.T) (s kernel.State) {
	t.Helper()
	must(t, x.backend.Base(x.plan, x.lease, &s))
	for _, p := range x.peers {
		must(t, x.backend.Peer(x.plan, p, &s))
	}
	return s
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
		have, err := x.kern.List(ctx, kernel.Scope{}, nil)
		must(t, err)
		must(t, x.engine.List(ctx, &have))
		c = kernel.Diff(have, want)
		must(t, x.kern.ApplyAround(ctx, c, func(ctx context.Context) {
			errPut = x.engine.Put(ctx, c.Put)
		}))
		must(t, x.engine.Drop(ctx, c.Drop))
	})
	return c, errPut
}

// echoes are what the node's pod answers at, in the families of the cluster.
func (x *node) echoes(t *testing.T, has families) (list []netip.AddrPort) {
	t.Helper()
	for f, yes := range has {
		if yes {
			at := netip.AddrPortFrom([]netip.Addr{addr("10.5.%d.2", x.n), addr("fd00:5:0:%d::2", x.n)}[f], 7)
			x.pod.Echo(t, at)
			list = append(list, at)
		}
	}
	return list
}

// killable starts an agent in a process of its own, which has put what the node wants of its engine when killable returns.
func (x *node) killable(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(slices.Collect(maps.Values(x.wanted(t).Datagrams)))
	must(t, err)
	cmd := exec.Command("/proc/self/exe", "agent", x.dir)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	x.Do(t, func() { must(t, cmd.Start()) })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "done\n" {
		t.Fatalf("the agent said %q, %v", line, err)
	}
	return cmd
}

// movers are the numbers of the processes that have the node's socket.
func (x *node) movers(t *testing.T) (pids []int) {
	t.Helper()
	var text []byte
	var err error
	x.Do(t, func() { text, err = os.ReadFile("/proc/thread-self/net/unix") })
	must(t, err)
	inode := ""
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 8 && words[7] == filepath.Join(x.dir, "udp.sock") && words[3] == "00010000" {
			inode = words[6]
		}
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	must(t, err)
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && inode != "" && target == "socket:["+inode+"]" {
			var pid int
			_, err := fmt.Sscanf(fd, "/proc/%d/", &pid)
			must(t, err)
			if !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// run runs the engine until the test ends. rung gets an element when it asks to look.
func (x *node) run(t *testing.T) (rung chan struct{}) {
	t.Helper()
	rung = make(chan struct{}, 100)
	var g errgroup.Group
	ctx, stop := context.WithCancel(context.Background())
	g.Go(func() error { return x.engine.Run(ctx, func() { rung <- struct{}{} }) })
	t.Cleanup(func() {
		stop()
		g.Wait()
	})
	return rung
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
