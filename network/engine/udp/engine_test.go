package udp_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

// The agent that started it may be killed: the next one finds everything as it was, and no packet is lost.
func TestAgentKilled(t *testing.T) {
	has := families{true, true}
	a, b := two(t, has)
	to := b.echoes(t, has)
	must(t, a.engine.End(t.Context()))
	first := a.killable(t)
	a.pod.Reach(t, to[0])
	a.pod.Reach(t, to[1])
	before := a.movers(t)
	flood, flood6 := a.pod.Flood(t, to[0], 10*time.Millisecond), a.pod.Flood(t, to[1], 10*time.Millisecond)
	for range 10 {
		must(t, a.pod.Ping(t, to[0], 100, 5*time.Second))
	}
	must(t, first.Process.Kill())
	first.Wait()
	if c := a.pass(t); !c.IsEmpty() {
		t.Errorf("the next agent put\n%sand dropped\n%s", c.Put, c.Drop)
	}
	for range 10 {
		must(t, a.pod.Ping(t, to[0], 100, 5*time.Second))
	}
	for _, f := range []interface {
		Stop(testing.TB) (int, int)
	}{flood, flood6} {
		if sent, lost := f.Stop(t); lost > 0 {
			t.Errorf("%d of %d packets lost", lost, sent)
		}
	}
	if diff := cmp.Diff(before, a.movers(t)); diff != "" || len(before) != 1 {
		t.Errorf("processes that move packets (-before +after):\n%s", diff)
	}
}

// The process itself may be killed: the agent is told at once, and its next pass mends everything.
func TestMoverKilled(t *testing.T) {
	has := families{true, true}
	a, b := two(t, has)
	to := b.echoes(t, has)
	a.pod.Reach(t, to[0])
	rung := a.run(t)
	for range 3 {
		before := a.movers(t)
		must(t, syscall.Kill(before[0], syscall.SIGKILL))
		<-rung
		c := a.pass(t)
		if diff := cmp.Diff(text(a.wanted(t)), text(c.Put)); diff != "" || c.Put.Len() != len(c.Put.Datagrams) || !c.Drop.IsEmpty() {
			t.Errorf("it put all datagrams (-want +got):\n%s\nand all that it put is\n%s", diff, c.Put)
		}
		if c := a.pass(t); !c.IsEmpty() {
			t.Errorf("the second pass put\n%sand dropped\n%s", c.Put, c.Drop)
		}
		a.pod.Reach(t, to[0])
		a.pod.Reach(t, to[1])
		if after := a.movers(t); len(after) != 1 || after[0] == before[0] {
			t.Errorf("processes were %v and are %v", before, after)
		}
	}
}

// A device that is taken away is noticed, and made again with all that it had. With its last device the process ends.
func TestDeviceGone(t *testing.T) {
	has := families{true, true}
	a, b := two(t, has)
	to := b.echoes(t, has)
	rung := a.run(t)
	remove := func(name string) {
		a.Do(t, func() {
			link, err := netlink.LinkByName(name)
			must(t, err)
			must(t, netlink.LinkDel(link))
		})
		<-rung
	}
	before := a.movers(t)
	remove("flannel0")
	if c := a.pass(t); len(c.Put.Datagrams) != 2 || len(c.Put.Links) != 1 {
		t.Errorf("put\n%s", c.Put)
	}
	a.pod.Reach(t, to[0])
	a.pod.Reach(t, to[1])
	if diff := cmp.Diff(before, a.movers(t)); diff != "" {
		t.Errorf("the process of the other device is another one:\n%s", diff)
	}
	remove("flannel0")
	remove("flannel-v6.0")
	if left := a.movers(t); len(left) > 0 {
		t.Errorf("processes %v are there without a device", left)
	}
	a.pass(t)
	a.pod.Reach(t, to[0])
}

// A change of the port goes over the time in which peers use one or the other.
func TestPortChanges(t *testing.T) {
	has := families{true, false}
	a, b := two(t, has)
	to := b.echoes(t, has)[0]
	a.pod.Reach(t, to)
	flood := a.pod.Flood(t, to, 10*time.Millisecond)
	both := func(x *node, config string) (s kernel.State) {
		s = x.wanted(t)
		was := x.backend
		x.use(t, config)
		must(t, x.backend.Base(x.plan, x.lease, &s))
		x.backend = was
		return s
	}
	for _, x := range []*node{a, b} { // everybody hears at the new port
		must(t, x.engine.Put(t.Context(), both(x, `{"Port": 8286}`)))
	}
	for _, x := range []*node{a, b} { // and sends to it
		old := x.wanted(t)
		x.use(t, `{"Port": 8286}`)
		must(t, x.engine.Put(t.Context(), x.wanted(t)))
		must(t, a.pod.Ping(t, to, 100, 5*time.Second))
		var peer kernel.State
		for _, d := range old.Datagrams {
			if d.Remote.IsValid() {
				peer.Datagrams.Add(d)
			}
		}
		must(t, x.engine.Drop(t.Context(), peer))
		must(t, a.pod.Ping(t, to, 100, 5*time.Second))
	}
	for _, x := range []*node{a, b} { // the old one is closed
		if c := x.pass(t); len(c.Drop.Datagrams) != 1 || !c.Put.IsEmpty() {
			t.Errorf("put\n%sdropped\n%s", c.Put, c.Drop)
		}
	}
	must(t, a.pod.Ping(t, to, 100, 5*time.Second))
	if sent, lost := flood.Stop(t); lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

func TestPortInUse(t *testing.T) {
	a, b := two(t, families{true, true})
	to := b.echoes(t, families{false, true})[0]
	must(t, a.engine.End(t.Context()))
	var conn *net.UDPConn
	for conn == nil {
		a.Do(t, func() {
			var err error
			conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 8285})
			if err != nil && !errors.Is(err, unix.EADDRINUSE) {
				t.Fatal(err)
			}
		})
	}
	c, err := a.tryPass(t)
	if len(c.Put.Datagrams) != 4 {
		t.Errorf("put\n%s", c.Put)
	}
	name, _ := os.ReadFile("/proc/self/comm")
	for _, part := range []string{"UDP port 8285 at 192.0.2.1", "Backend.Port", "in use by " + strings.TrimSpace(string(name))} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error is %v, want one with %q", err, part)
		}
	}
	a.pod.Reach(t, to) // the other family is not held up
	conn.Close()
	if c := a.pass(t); len(c.Put.Datagrams) != 2 {
		t.Errorf("put\n%s", c.Put)
	}
}

func TestDeviceHeldByAnother(t *testing.T) {
	a := newNode(t, 1, families{true, false})
	var want kernel.State
	want.Links.Add(kernel.Link{Name: "flannel0", MTU: 1472, Up: true, TUN: true})
	a.Do(t, func() {
		must(t, a.kern.Apply(t.Context(), kernel.Change{Put: want}))
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		r, err := unix.NewIfreq("flannel0")
		must(t, err)
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, r))
		err = a.engine.Put(t.Context(), a.wanted(t))
		if err == nil || !strings.Contains(err.Error(), "flannel0") || !strings.Contains(err.Error(), "another process holds it") {
			t.Errorf("error is %v", err)
		}
	})
}

// Bad requests get an answer, and things that cannot be are refused one by one.
func TestRefusals(t *testing.T) {
	a, _ := two(t, families{true, false})
	good := text(a.wanted(t))
	for _, test := range []struct {
		name string
		d    kernel.Datagram
		want string
	}{
		{"no device", kernel.Datagram{Link: "nope", Local: netip.MustParseAddrPort("192.0.2.1:8285"), Subnet: netip.MustParsePrefix("10.5.7.0/24")}, "there is no such device"},
		{"no TUN device", kernel.Datagram{Link: "eth0", Local: netip.MustParseAddrPort("192.0.2.1:8285"), Subnet: netip.MustParsePrefix("10.5.7.0/24")}, "eth0"},
		{"the other family", kernel.Datagram{Link: "flannel0", Local: netip.MustParseAddrPort("192.0.2.1:8285"), Subnet: netip.MustParsePrefix("fd00::/64")}, "other family"},
		{"not masked", kernel.Datagram{Link: "flannel0", Local: netip.MustParseAddrPort("192.0.2.1:8285"), Subnet: netip.MustParsePrefix("10.5.7.1/24")}, "makes no sense"},
		{"no address", kernel.Datagram{Link: "flannel0", Subnet: netip.MustParsePrefix("10.5.7.0/24")}, "makes no sense"},
		{"somebody else's address", kernel.Datagram{Link: "flannel0", Local: netip.MustParseAddrPort("192.0.2.9:8285"), Subnet: netip.MustParsePrefix("10.5.7.0/24")}, "192.0.2.9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s kernel.State
			s.Datagrams.Add(test.d)
			if err := a.engine.Put(t.Context(), s); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
	var s kernel.State
	must(t, a.engine.List(t.Context(), &s))
	if diff := cmp.Diff(good, text(s)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

// An engine without a process keeps nothing, and has nothing to take away.
func TestNothing(t *testing.T) {
	e := newEngine(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	var s, d kernel.State
	d.Datagrams.Add(kernel.Datagram{Link: "flannel0"})
	for _, err := range []error{e.List(ctx, &s), e.Put(ctx, kernel.State{}), e.Drop(ctx, d), e.End(ctx)} {
		must(t, err)
	}
	if !s.IsEmpty() {
		t.Errorf("keeps\n%s", s)
	}
	cancel()
	if err := e.Run(ctx, func() { t.Error("nothing changed") }); !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}

// text is what s says of datagrams.
func text(s kernel.State) string { return kernel.State{Datagrams: s.Datagrams}.String() }
