package kernel_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
)

// tunnelled is what a node that carries packets by hand holds, with routes to so many peers of one family.
func tunnelled(inet6 bool, peers int) (s kernel.State) {
	name, metric := "flannel0", uint32(0)
	if inet6 {
		name, metric = "flannel-v6.0", 1024
	}
	s.Links.Add(kernel.Link{Name: name, MTU: 1400, Up: true, TUN: true})
	s.Addrs.Add(kernel.Addr{Link: name, Prefix: netip.PrefixFrom(subnet(inet6, 0).Addr(), subnet(inet6, 0).Addr().BitLen())})
	for i := 1; i <= peers; i++ {
		s.Routes.Add(kernel.Route{Dst: subnet(inet6, i), Metric: metric, Link: name})
	}
	return s
}

func TestTUN(t *testing.T) {
	for _, inet6 := range []bool{false, true} {
		h := newHost(t)
		h.converge(t, tunnelled(inet6, 2))
		h.converge(t, tunnelled(inet6, 1))
		for name := range tunnelled(inet6, 0).Links {
			tun, ok := h.device(t, name).(*netlink.Tuntap)
			if !ok || tun.Mode != netlink.TUNTAP_MODE_TUN || tun.NonPersist {
				t.Errorf("%s is %+v, want a TUN device that stays", name, tun)
			}
			index := tun.Index
			h.converge(t, with(tunnelled(inet6, 1), device(name, func(l *kernel.Link) { l.MTU = 1300 })))
			if now := h.device(t, name).Attrs().Index; now != index {
				t.Errorf("index of %s is %d, was %d: it was made anew", name, now, index)
			}
			h.do(t, func() error { return netlink.LinkDel(tun) })
		}
		h.converge(t, tunnelled(inet6, 1))
		h.converge(t, kernel.State{})
	}
}

// Packets that routes lead to the device are read by whoever opened it, and they are whole packets of IP.
func TestTUNCarries(t *testing.T) {
	h := newHost(t)
	h.converge(t, tunnelled(false, 1))
	h.do(t, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		request, err := unix.NewIfreq("flannel0")
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return err
		}
		h.holds(t, tunnelled(false, 1)) // open or not, it is the device that was made
		to := netip.AddrPortFrom(subnet(false, 1).Addr().Next(), 9)
		packet := make([]byte, 2000)
		n, err := 0, error(unix.EAGAIN)
		for deadline := time.Now().Add(time.Minute); err == unix.EAGAIN && time.Now().Before(deadline); {
			h.Ping(t, to, 100, 100*time.Millisecond) // nobody answers; the device sends a moment after it was opened
			n, err = unix.Read(fd, packet)
		}
		if err != nil {
			return err
		}
		if n != 128 || packet[0] != 0x45 || netip.AddrFrom4([4]byte(packet[16:20])) != to.Addr() {
			t.Errorf("read %x, want a packet of IPv4 to %s with 100 bytes in UDP", packet[:n], to)
		}
		return nil
	})
	h.holds(t, tunnelled(false, 1))
}

// What another program has made under our name and kind takes the form that we need.
func TestTUNOfAnotherForm(t *testing.T) {
	h := newHost(t)
	h.do(t, func() error {
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "flannel0"}, Mode: netlink.TUNTAP_MODE_TAP})
	})
	if have := h.list(t).String(); !strings.HasPrefix(have, "link flannel0 address ") {
		t.Fatalf("listed:\n%s", have)
	}
	h.converge(t, tunnelled(false, 2))
}

func TestLinkOfNoKind(t *testing.T) {
	h := newHost(t)
	err := h.Apply(t.Context(), kernel.Change{Put: with(kernel.State{}, func(s *kernel.State) { s.Links.Add(kernel.Link{Name: "flannel.1", MTU: 1400}) })})
	if err == nil || !strings.Contains(err.Error(), "make link flannel.1 mtu 1400: it does not say of what kind") {
		t.Errorf("error: %v", err)
	}
}
