package masq

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// The addresses of both families in the little world below.
var (
	podAddr     = [2]string{"10.5.1.2", "fd00:5:0:1::2"}
	bridgeAddr  = [2]string{"10.5.1.1", "fd00:5:0:1::1"}
	peerAddr    = [2]string{"10.5.2.2", "fd00:5:0:2::2"}
	overlayAddr = [2]string{"10.5.2.1", "fd00:5:0:2::1"}
	farAddr     = [2]string{"192.0.2.2", "2001:db8::2"}
	uplinkAddr  = [2]string{"192.0.2.1", "2001:db8::1"}
	siteAddr    = [2]string{"192.168.9.1", "fd00:9::1"}
	friendAddr  = [2]string{"192.168.9.2", "fd00:9::2"}
)

// world is a node, a pod on it, a pod of another node, a machine outside, and one in a network that knows pods' addresses.
type world struct {
	node, pod, peer, far, friend *kerneltest.NS
}

func newWorld(t *testing.T) world {
	w := world{kerneltest.NewNS(t), kerneltest.NewNS(t), kerneltest.NewNS(t), kerneltest.NewNS(t), kerneltest.NewNS(t)}
	for _, ns := range []*kerneltest.NS{w.node, w.pod, w.peer, w.far, w.friend} {
		// Link-local addresses must be usable at once, else the first neighbour cannot be found for a second or two.
		ns.Do(t, func() { write(t, "ipv6/conf/default/accept_dad", "0") })
	}
	w.node.Do(t, func() {
		write(t, "ipv4/ip_forward", "1")
		write(t, "ipv6/conf/all/forwarding", "1")
	})
	cidrs := func(a [2]string) []string { return []string{a[0] + "/24", a[1] + "/64"} }
	w.node.Join(t, "bridge", w.pod, "eth0", cidrs(bridgeAddr), cidrs(podAddr))
	w.node.Join(t, "overlay", w.peer, "eth0", cidrs(overlayAddr), cidrs(peerAddr))
	w.node.Join(t, "uplink", w.far, "eth0", cidrs(uplinkAddr), cidrs(farAddr))
	w.node.Join(t, "site", w.friend, "eth0", cidrs(siteAddr), cidrs(friendAddr))
	for f := range subnet.Families {
		route(t, w.pod, "eth0", [2]string{"0.0.0.0/0", "::/0"}[f], bridgeAddr[f])
		route(t, w.peer, "eth0", [2]string{"0.0.0.0/0", "::/0"}[f], overlayAddr[f])
		route(t, w.far, "eth0", [2]string{"0.0.0.0/0", "::/0"}[f], uplinkAddr[f])
		route(t, w.friend, "eth0", [2]string{"0.0.0.0/0", "::/0"}[f], siteAddr[f])
	}
	return w
}

func write(t *testing.T, sysctl, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+sysctl, []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
}

func route(t *testing.T, ns *kerneltest.NS, device, to, via string) {
	t.Helper()
	ns.Do(t, func() {
		link, err := netlink.LinkByName(device)
		if err != nil {
			t.Fatal(err)
		}
		dst, err := netlink.ParseIPNet(to)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: net.ParseIP(via)}); err != nil {
			t.Fatalf("add a route to %s: %v", to, err)
		}
	})
}

// report answers everything that comes to the port in ns with the address that it came from, until the test ends.
func report(t *testing.T, ns *kerneltest.NS, port uint16) {
	t.Helper()
	var udp *net.UDPConn
	var tcp *net.TCPListener
	ns.Do(t, func() {
		var err, errTCP error
		udp, err = net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
		tcp, errTCP = net.ListenTCP("tcp", &net.TCPAddr{Port: int(port)})
		if err := errors.Join(err, errTCP); err != nil {
			t.Fatal(err)
		}
	})
	var g errgroup.Group
	g.Go(func() error {
		for {
			_, from, err := udp.ReadFromUDPAddrPort(make([]byte, 64))
			if err != nil {
				return nil // closed
			}
			udp.WriteToUDPAddrPort([]byte(from.Addr().Unmap().String()), from)
		}
	})
	g.Go(func() error {
		for {
			conn, err := tcp.AcceptTCP()
			if err != nil {
				return nil // closed
			}
			conn.Write([]byte(conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String()))
			conn.Close()
		}
	})
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		g.Wait()
	})
}

// ask sends from ns to a port that reports, and returns the address that it was seen to come from, or the error.
func ask(t *testing.T, ns *kerneltest.NS, network string, to netip.AddrPort) string {
	t.Helper()
	var conn net.Conn
	var err error
	ns.Do(t, func() { conn, err = (&net.Dialer{Timeout: 2 * time.Second}).Dial(network, to.String()) })
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	b := make([]byte, 64)
	for range 10 { // a device that has just been made may lose a packet
		if network == "udp" {
			conn.Write([]byte("who am I?"))
		}
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		var n int
		if n, err = conn.Read(b); err == nil || errors.Is(err, io.EOF) {
			return string(b[:n])
		}
	}
	return err.Error()
}

// multicastSocket opens a socket that sends to groups by the device, from an address that is another device's.
func multicastSocket(addr, device string) (*net.UDPConn, error) {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr)})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var errSet error
	err = raw.Control(func(fd uintptr) {
		if net.ParseIP(addr).To4() != nil {
			errSet = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(dev.Index)})
		} else {
			errSet = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, dev.Index)
		}
	})
	return conn, errors.Join(err, errSet)
}

// connect opens a TCP connection from the pod to outside, which must be masqueraded, and returns a function that sends something and wants it back.
func (w world) connect(t *testing.T) (echo func()) {
	t.Helper()
	var listener *net.TCPListener
	var client, server *net.TCPConn
	var err error
	w.far.Do(t, func() { listener, err = net.ListenTCP("tcp", &net.TCPAddr{Port: plain}) })
	if err == nil {
		w.pod.Do(t, func() {
			client, err = net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.ParseIP(farAddr[subnet.Inet]), Port: plain})
		})
	}
	if err == nil {
		server, err = listener.AcceptTCP()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []io.Closer{listener, client, server} {
			c.Close()
		}
	})
	if got := server.RemoteAddr().(*net.TCPAddr).IP.String(); got != uplinkAddr[subnet.Inet] {
		t.Fatalf("connected from %s, want %s", got, uplinkAddr[subnet.Inet])
	}
	return func() {
		t.Helper()
		deadline := time.Now().Add(5 * time.Second)
		client.SetDeadline(deadline)
		server.SetDeadline(deadline)
		b := make([]byte, 4)
		_, errWrite := client.Write([]byte("ping"))
		_, errRead := io.ReadFull(server, b)
		_, errBack := server.Write(b)
		_, errEnd := io.ReadFull(client, b)
		if err := errors.Join(errWrite, errRead, errBack, errEnd); err != nil {
			t.Errorf("the connection does not work any more: %v", err)
		}
	}
}
