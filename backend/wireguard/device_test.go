package wireguard_test

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/backend/wireguard"
	"github.com/weft-network/weft/network/kernel"
)

func (n *node) publicKey(t *testing.T) kernel.PublicKey {
	t.Helper()
	k, err := wireguard.PublicKey(n.plan.WireGuardKey)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func device(t *testing.T, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func del(t *testing.T, name string) {
	t.Helper()
	if err := netlink.LinkDel(device(t, name)); err != nil {
		t.Fatal(err)
	}
}

func address(t *testing.T, name, cidr string) {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	if err == nil {
		err = netlink.AddrAdd(device(t, name), a)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// capture begins to take in all that passes the uplink. The returned function returns what that was.
func (n *node) capture(t *testing.T) func() [][]byte {
	t.Helper()
	var file *os.File
	n.Do(t, func() {
		const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: device(t, "eth0").Attrs().Index})
		}
		if err != nil {
			t.Fatal(err)
		}
		file = os.NewFile(uintptr(fd), "capture")
	})
	t.Cleanup(func() { file.Close() })
	return func() (frames [][]byte) {
		if err := file.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Log(err) // then reading ends with EAGAIN
		}
		conn, err := file.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = conn.Control(func(fd uintptr) {
			for {
				frame := make([]byte, 2048)
				k, _, err := unix.Recvfrom(int(fd), frame, unix.MSG_DONTWAIT)
				if err != nil {
					return
				}
				frames = append(frames, frame[:k])
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return frames
	}
}
