package udp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestDropped drops packets for every reason there is, and sees each counted where it belongs.
func TestDropped(t *testing.T) {
	has := families{true, true}
	a, b := two(t, has)
	a.pod.Reach(t, b.echoes(t, has)[0])
	a.Do(t, func() {
		link, err := netlink.LinkByName("flannel0")
		must(t, err)
		must(t, netlink.LinkSetMTU(link, 65535))
		_, nobody, err := net.ParseCIDR("10.5.9.0/24")
		must(t, err)
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: nobody}))
	})
	const peer, own = "10.5.2.2:7", "192.0.2.1:8285"
	for _, test := range []struct {
		reason string
		least  uint64
		stop   bool // the process, so that queues fill
		cause  func(t *testing.T)
	}{
		{"no_subnet", 3, false, func(t *testing.T) { a.send(t, "10.5.9.2:7", 3, 100, 64) }},
		{"no_hops", 3, false, func(t *testing.T) { a.send(t, peer, 3, 100, 1) }},
		{"too_big", 3, false, func(t *testing.T) { a.send(t, peer, 3, 65490, 64) }},
		{"not_a_packet", 3, false, func(t *testing.T) { b.send(t, own, 3, 100, 64) }},
		{"device_queue", 100, true, func(t *testing.T) { a.send(t, peer, 2000, 100, 64) }},
		{"socket_queue", 50, true, func(t *testing.T) { b.send(t, own, 1000, 60000, 64) }},
		{"not_sent", 3, false, func(t *testing.T) {
			a.Do(t, func() {
				_, to, err := net.ParseCIDR("192.0.2.2/32")
				must(t, err)
				must(t, netlink.RouteAdd(&netlink.Route{Type: unix.RTN_UNREACHABLE, Dst: to}))
			})
			a.send(t, peer, 3, 100, 64)
		}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			before := a.dropped(t)
			mover := a.movers(t)[0]
			if test.stop {
				must(t, unix.Kill(mover, unix.SIGSTOP))
			}
			test.cause(t)
			if test.stop {
				must(t, unix.Kill(mover, unix.SIGCONT))
			}
			for deadline := time.Now().Add(time.Minute); ; {
				after := a.dropped(t)
				if n := after["flannel0 "+test.reason] - before["flannel0 "+test.reason]; n >= test.least {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("counted were %v, and now %v", before, after)
				}
			}
			for what, n := range a.dropped(t) {
				if what == "flannel-v6.0 "+test.reason && n != before[what] {
					t.Errorf("%s is %d, and was %d: it is the other device", what, n, before[what])
				}
			}
		})
	}
	if all := a.dropped(t); len(all) != 14 {
		t.Errorf("counted are %v, want 7 reasons for each of two devices", all)
	}
	must(t, a.engine.End(t.Context()))
	if list, err := a.engine.Dropped(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("without a process %v are counted, %v", list, err)
	}
}

// dropped is what is counted, by device and reason.
func (x *node) dropped(t *testing.T) map[string]uint64 {
	t.Helper()
	list, err := x.engine.Dropped(t.Context())
	must(t, err)
	all := map[string]uint64{}
	for _, d := range list {
		all[d.Link+" "+d.Reason] = d.Packets
	}
	return all
}

// send sends n datagrams of some size with so many hops from the node itself. What the kernel does not take, it does not take.
func (x *node) send(t *testing.T, to string, n, size, hops int) {
	t.Helper()
	x.Do(t, func() {
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		must(t, err)
		defer conn.Close()
		raw, err := conn.SyscallConn()
		must(t, err)
		must(t, errors.Join(raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, hops),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20))
		}), err))
		for range n {
			if _, err := conn.Write(make([]byte, size)); err != nil && !os.IsTimeout(err) {
				t.Logf("%d bytes to %s: %v", size, to, err)
			}
		}
	})
}
