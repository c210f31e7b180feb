package ipsec

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// capture is what was seen on a node's uplink: how many packets of each kind.
type capture struct {
	fd    int
	group errgroup.Group
	seen  map[string]int
	stop  func() map[string]int // ends it and returns what was seen
}

// capture notes what leaves and comes in by eth0 until stop is called.
func (x *node) capture() *capture {
	x.Helper()
	c := &capture{seen: map[string]int{}}
	x.Do(x, func() {
		var err error
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
		must(x, err)
		link, err := net.InterfaceByName("eth0")
		must(x, err)
		must(x, unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: link.Index}))
		must(x, unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100000}))
	})
	stop := make(chan struct{})
	c.group.Go(func() error { return c.read(stop) })
	x.Cleanup(func() { unix.Close(c.fd) })
	c.stop = func() map[string]int {
		close(stop)
		must(x, c.group.Wait())
		return c.seen
	}
	return c
}

func (c *capture) read(stop chan struct{}) error {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(c.fd, buf, 0)
		switch {
		case err == nil:
			c.seen[kindOf(buf[:n])]++
		case errors.Is(err, unix.EAGAIN):
			select {
			case <-stop:
				return nil
			default:
			}
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
}

// kindOf says what a packet is.
func kindOf(p []byte) string {
	var src, dst netip.Addr
	var protocol byte
	var rest []byte
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		src, dst, protocol, rest = netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20])), p[9], p[20:]
		if p[6]&0x20 != 0 || p[6]&0x1f != 0 || p[7] != 0 {
			return "fragment"
		}
	case len(p) >= 40 && p[0]>>4 == 6:
		src, dst, protocol, rest = netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), p[6], p[40:]
	default:
		return "other"
	}
	for _, pods := range []string{"10.5.0.0/16", "fd00:5::/48"} {
		if n := netip.MustParsePrefix(pods); n.Contains(src) || n.Contains(dst) {
			return "CLEAR"
		}
	}
	switch {
	case protocol == unix.IPPROTO_ESP:
		return "esp"
	case protocol == unix.IPPROTO_FRAGMENT:
		return "fragment"
	case protocol == unix.IPPROTO_UDP && len(rest) >= 12:
		if port := int(rest[2])<<8 | int(rest[3]); port == 4500 && !slices.Equal(rest[8:12], []byte{0, 0, 0, 0}) {
			return "esp in udp"
		}
		return "ike"
	}
	return fmt.Sprintf("protocol %d", protocol)
}

func TestKindOf(t *testing.T) {
	inet := func(protocol byte, src, dst string, rest ...byte) []byte {
		p := append([]byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0}, netip.MustParseAddr(src).AsSlice()...)
		return append(append(p, netip.MustParseAddr(dst).AsSlice()...), rest...)
	}
	for _, test := range []struct {
		packet []byte
		want   string
	}{
		{inet(1, "10.5.1.2", "10.5.2.2"), "CLEAR"},
		{inet(50, "192.0.2.1", "192.0.2.2"), "esp"},
		{inet(17, "192.0.2.1", "192.0.2.2", 0x11, 0x94, 0x11, 0x94, 0, 0, 0, 0, 1, 2, 3, 4), "esp in udp"},
		{inet(17, "192.0.2.1", "192.0.2.2", 0x11, 0x94, 0x11, 0x94, 0, 0, 0, 0, 0, 0, 0, 0), "ike"},
		{inet(17, "192.0.2.1", "192.0.2.2", 1, 0xf4, 1, 0xf4, 0, 0, 0, 0, 1, 2, 3, 4), "ike"},
		{inet(1, "192.0.2.1", "192.0.2.2"), "protocol 1"},
		{[]byte{1}, "other"},
	} {
		if got := kindOf(test.packet); got != test.want {
			t.Errorf("%x is %q, want %q", test.packet, got, test.want)
		}
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
