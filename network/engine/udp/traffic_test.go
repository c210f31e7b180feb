package udp_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func TestTraffic(t *testing.T) {
	for _, test := range []struct {
		name string
		has  families
	}{
		{"IPv4", families{true, false}},
		{"IPv6", families{false, true}},
		{"dual", families{true, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := two(t, test.has)
			for _, to := range b.echoes(t, test.has) {
				a.pod.Reach(t, to)
				for _, size := range []int{8, 1000, 1404, 60000} {
					if err := a.pod.Ping(t, to, size, 20*time.Second); err != nil {
						t.Errorf("%d bytes to %s: %v", size, to, err)
					}
				}
				stream(t, a, b, to.Addr())
			}
			if len(a.movers(t)) != 1 {
				t.Errorf("processes %v, want one", a.movers(t))
			}
			a.peers, b.peers = nil, nil
			a.pass(t)
			if c := a.pass(t); !c.IsEmpty() {
				t.Errorf("without the peer, the second pass put\n%sand dropped\n%s", c.Put, c.Drop)
			}
		})
	}
}

// stream sends much over TCP, which the kernel hands over and takes back in packets larger than any link has.
func stream(t *testing.T, a, b *node, to netip.Addr) {
	t.Helper()
	data := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	var l net.Listener
	b.pod.Do(t, func() {
		var err error
		l, err = net.Listen("tcp", netip.AddrPortFrom(to, 9).String())
		must(t, err)
	})
	defer l.Close()
	var got [sha256.Size]byte
	var g errgroup.Group
	g.Go(func() error {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		defer conn.Close()
		h := sha256.New()
		_, err = io.Copy(h, conn)
		copy(got[:], h.Sum(nil))
		return err
	})
	a.pod.Do(t, func() {
		conn, err := net.DialTimeout("tcp", l.Addr().String(), time.Minute)
		must(t, err)
		_, err = conn.Write(data)
		must(t, err)
		must(t, conn.Close())
	})
	must(t, g.Wait())
	if got != sha256.Sum256(data) {
		t.Errorf("what arrived over TCP at %s is not what was sent", to)
	}
}

// On the wire a packet is what flanneld makes of it: the packet alone, with one hop less for the node and one for the tunnel.
func TestWire(t *testing.T) {
	a, b := two(t, families{true, false})
	must(t, b.engine.End(t.Context()))
	var conn *net.UDPConn
	for conn == nil {
		b.Do(t, func() {
			var err error
			conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 8285})
			if err != nil && !errors.Is(err, unix.EADDRINUSE) { // the process may take a moment to end
				t.Fatal(err)
			}
		})
	}
	defer conn.Close()
	buf := make([]byte, 2000)
	n, from, err := 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	for deadline := time.Now().Add(time.Minute); errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline); {
		a.pod.Ping(t, netip.MustParseAddrPort("10.5.2.2:7"), 100, 100*time.Millisecond) // nobody answers; a device sends a moment after it was opened
		must(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		n, from, err = conn.ReadFromUDPAddrPort(buf)
	}
	must(t, err)
	if from != netip.MustParseAddrPort("192.0.2.1:8285") {
		t.Errorf("it comes from %s", from)
	}
	p := buf[:n]
	if n != 128 || p[0] != 0x45 || binary.BigEndian.Uint16(p[2:]) != 128 || p[8] != 62 || p[9] != 17 {
		t.Errorf("packet %x", p)
	}
	// And back: what flanneld would send arrives in the pod.
	reply := append([]byte{}, p...)
	copy(reply[12:], p[16:20])
	copy(reply[16:], p[12:16])
	a.pod.Do(t, func() {
		local, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(binary.BigEndian.Uint16(p[20:]))})
		must(t, err)
		defer local.Close()
		binary.BigEndian.PutUint16(reply[20:], 7)
		copy(reply[22:], p[20:22])
		copy(reply[26:], []byte{0, 0}) // no checksum
		_, err = conn.WriteToUDPAddrPort(reply, from)
		must(t, err)
		must(t, local.SetReadDeadline(time.Now().Add(time.Minute)))
		if n, _, err := local.ReadFromUDPAddrPort(buf); err != nil || n != 100 {
			t.Errorf("the pod got %d bytes, %v", n, err)
		}
	})
}

// Packets that find no way or have no hops left come back as ICMP, from both ends of the tunnel.
func TestComplaints(t *testing.T) {
	has := families{true, true}
	a, _ := two(t, has)
	for _, nobody := range []string{"10.5.9.0/24", "fd00:5:0:9::/64"} { // routed to the device, and nobody is there
		a.Do(t, func() {
			p := netip.MustParsePrefix(nobody)
			name := "flannel0"
			if p.Addr().Is6() {
				name = "flannel-v6.0"
			}
			link, err := netlink.LinkByName(name)
			must(t, err)
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK,
				Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}))
		})
	}
	for _, test := range []struct {
		to   string
		hops int
		want error
	}{
		{"10.5.9.2", 64, unix.ENETUNREACH},
		{"10.5.2.2", 2, unix.EHOSTUNREACH}, // the node takes one, its end of the tunnel the other
		{"10.5.2.2", 3, unix.EHOSTUNREACH}, // the far end takes the third
		{"fd00:5:0:9::2", 64, unix.ENETUNREACH},
		{"fd00:5:0:2::2", 2, unix.EHOSTUNREACH},
		{"fd00:5:0:2::2", 3, unix.EHOSTUNREACH},
	} {
		t.Run(fmt.Sprintf("%s in %d", test.to, test.hops), func(t *testing.T) {
			if err := complaint(t, a, netip.MustParseAddr(test.to), test.hops); !errors.Is(err, test.want) {
				t.Errorf("the pod is told %v, want %v", err, test.want)
			}
		})
	}
}

// complaint sends a packet with so many hops from the pod of a, and returns the error that it gets back.
func complaint(t *testing.T, a *node, to netip.Addr, hops int) (err error) {
	t.Helper()
	a.pod.Do(t, func() {
		var conn *net.UDPConn
		conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 7)))
		must(t, err)
		defer conn.Close()
		raw, errRaw := conn.SyscallConn()
		must(t, errRaw)
		raw.Control(func(fd uintptr) {
			if to.Is4() {
				err = errors.Join(syscall.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1),
					syscall.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, hops))
				return
			}
			err = errors.Join(syscall.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1),
				syscall.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops))
		})
		must(t, err)
		deadline := time.Now().Add(20 * time.Second)
		for err == nil || errors.Is(err, errTimeout) {
			if time.Now().After(deadline) {
				return
			}
			if _, err = conn.Write([]byte("hello")); err == nil { // again, because neighbours have to be found first
				must(t, conn.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
				if _, err = conn.Read(make([]byte, 10)); err != nil && strings.Contains(err.Error(), "timeout") {
					err = errTimeout
				}
			}
		}
	})
	return err
}

var errTimeout = errors.New("no answer")

// What is no packet, or one of the other family, does not disturb the others.
func TestGarbage(t *testing.T) {
	has := families{true, true}
	a, b := two(t, has)
	to := b.echoes(t, has)
	a.pod.Reach(t, to[0])
	a.pod.Reach(t, to[1])
	before := b.movers(t)
	r := rand.New(rand.NewPCG(1, 2))
	a.Do(t, func() {
		for _, remote := range []string{"192.0.2.2:8285", "[2001:db8::2]:8285"} {
			conn, err := net.Dial("udp", remote)
			must(t, err)
			defer conn.Close()
			for i := range 3000 {
				p := make([]byte, r.IntN(200))
				for j := range p {
					p[j] = byte(r.Uint32())
				}
				if len(p) > 0 && i%3 > 0 {
					p[0] = []byte{0x45, 0x60}[i%2]
				}
				if len(p) > 4 && i%5 > 0 { // lengths that fit
					binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
					if p[0] == 0x60 && len(p) > 40 {
						binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
					}
				}
				_, err := conn.Write(p)
				must(t, err)
			}
		}
	})
	for _, x := range to {
		a.pod.Reach(t, x)
	}
	if after := b.movers(t); len(after) != 1 || after[0] != before[0] {
		t.Errorf("processes were %v and are %v", before, after)
	}
}
