package kerneltest

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NS is a network namespace. It lives until the test that made it has ended.
type NS struct {
	file *os.File
}

// NewNS makes a network namespace with loopback up.
func NewNS(t testing.TB) *NS {
	t.Helper()
	n := &NS{}
	var err error
	run(t, func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("make a network namespace: %w", err)
			return
		}
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err == nil {
			err = upLoopback()
		}
	})
	if n.file != nil {
		t.Cleanup(func() { n.file.Close() })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Fd returns a file descriptor of the namespace, which is valid until the test ends.
func (n *NS) Fd() int { return int(n.file.Fd()) }

// Path returns a file name by which this process and its children reach the namespace.
func (n *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.Fd()) }

// Do runs f on a thread in the namespace and waits for it. Sockets that f opens stay in the namespace; goroutines that f
// starts do not. f may call t.Fatal, which ends the calling test as well.
func (n *NS) Do(t testing.TB, f func()) {
	t.Helper()
	run(t, func() {
		if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
			t.Fatalf("enter the network namespace: %v", err)
		}
		f()
	})
}

// Join connects n and peer with a veth pair. The two ends get these names and addresses in CIDR form. It may take
// the kernel a second until packets pass; Reach waits for that.
func (n *NS) Join(t testing.TB, name string, peer *NS, peerName string, addrs, peerAddrs []string) {
	t.Helper()
	n.Do(t, func() {
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: name})
		veth.PeerName = peerName
		veth.PeerNamespace = netlink.NsFd(peer.Fd())
		if err := netlink.LinkAdd(veth); err != nil {
			t.Fatalf("make the veth pair %s, %s: %v", name, peerName, err)
		}
		upWith(t, name, addrs)
	})
	peer.Do(t, func() { upWith(t, peerName, peerAddrs) })
}

// upWith sets a device of the current namespace up and gives it addresses, which are usable at once.
func upWith(t testing.TB, name string, addrs []string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatalf("set %s up: %v", name, err)
	}
	for _, s := range addrs {
		addr, err := netlink.ParseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			t.Fatalf("add %s to %s: %v", s, name, err)
		}
	}
}

// run runs f on a thread of its own, which ends with f, and waits for it.
func run(t testing.TB, f func()) {
	t.Helper()
	done := make(chan bool, 1)
	go func() {
		returned := false
		defer func() { done <- returned }()
		runtime.LockOSThread() // never unlocked: the thread has changed and must not be used again
		f()
		returned = true
	}()
	if !<-done {
		t.FailNow()
	}
}

func upLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	return nil
}
