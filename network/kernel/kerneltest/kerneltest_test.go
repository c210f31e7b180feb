package kerneltest_test

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

func TestMainGivesNamespaceOfItsOwn(t *testing.T) {
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	if len(links) == 0 || links[0].Attrs().Name != "lo" {
		t.Fatalf("links: %v, want lo", links)
	}
	if links[0].Attrs().RawFlags&1 == 0 {
		t.Error("loopback is down")
	}
	if os.Getuid() != 0 {
		t.Errorf("uid %d, want 0", os.Getuid())
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		t.Errorf("cannot set a parameter of the namespace: %v", err)
	}
}

func TestNamespacesAreJoined(t *testing.T) {
	a, b := kerneltest.NewNS(t), kerneltest.NewNS(t)
	a.Join(t, "eth0", b, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, []string{"192.0.2.2/24", "2001:db8::2/64"})
	for _, s := range []string{"192.0.2.2", "2001:db8::2"} {
		t.Run(s, func(t *testing.T) {
			to := netip.AddrPortFrom(netip.MustParseAddr(s), 7)
			if err := a.Ping(t, to, 100, 100*time.Millisecond); err == nil {
				t.Fatal("answered with nobody there")
			}
			b.Echo(t, to)
			a.Reach(t, to)
			flood := a.Flood(t, to, time.Millisecond)
			for range 20 {
				if err := a.Ping(t, to, 1000, 5*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			if sent, lost := flood.Stop(t); sent == 0 || lost != 0 {
				t.Errorf("%d of %d packets lost", lost, sent)
			}
		})
	}
}

func TestFloodCountsLosses(t *testing.T) {
	a, b := kerneltest.NewNS(t), kerneltest.NewNS(t)
	a.Join(t, "eth0", b, "eth0", []string{"192.0.2.1/24"}, []string{"192.0.2.2/24"})
	to := netip.MustParseAddrPort("192.0.2.2:7")
	b.Echo(t, to)
	a.Reach(t, to)
	flood := a.Flood(t, to, time.Millisecond)
	for range 20 {
		if err := a.Ping(t, to, 8, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	b.Do(t, func() {
		link, err := netlink.LinkByName("eth0")
		if err == nil {
			err = netlink.LinkSetDown(link)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	a.Ping(t, to, 8, 50*time.Millisecond)
	if sent, lost := flood.Stop(t); lost == 0 || lost == sent {
		t.Errorf("%d of %d packets lost, want some of them", lost, sent)
	}
}

func TestCaptureFindsTexts(t *testing.T) {
	a, b := kerneltest.NewNS(t), kerneltest.NewNS(t)
	a.Join(t, "eth0", b, "eth0", []string{"192.0.2.1/24"}, []string{"192.0.2.2/24"})
	to := netip.MustParseAddrPort("192.0.2.2:7")
	there, back := []byte{192, 0, 2, 1, 192, 0, 2, 2}, []byte{192, 0, 2, 2, 192, 0, 2, 1}
	b.Echo(t, to)
	a.Reach(t, to)
	both, none := a.Capture(t, "eth0", there, back), a.Capture(t, "eth0", []byte("there is no such text"))
	flood := a.Flood(t, to, time.Millisecond)
	both.Await(t, 20)
	none.Await(t, 20)
	flood.Stop(t)
	if _, found := both.Counts(); found < 20 {
		t.Errorf("%d packets found, want all that the flood has sent", found)
	}
	if packets, found := none.Counts(); found != 0 || packets < 20 {
		t.Errorf("of %d packets %d have a text that is in none", packets, found)
	}
}

func TestStreamComesBack(t *testing.T) {
	a, b := kerneltest.NewNS(t), kerneltest.NewNS(t)
	a.Join(t, "eth0", b, "eth0", []string{"192.0.2.1/24"}, []string{"192.0.2.2/24"})
	wire := b.Capture(t, "eth0")
	stream := a.Stream(t, b, netip.MustParseAddrPort("192.0.2.2:7"), time.Millisecond)
	wire.Await(t, 50)
	if sent, missing := stream.Stop(t); sent < 1000 || missing != 0 {
		t.Errorf("%d bytes sent, %d missing", sent, missing)
	}
}
