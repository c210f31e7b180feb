package rtnl

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

const patience = 10 * time.Second

// node makes an uplink and a vxlan device, and returns a watch of it.
func node(t *testing.T) (c *Conn, w *Watch, link int) {
	t.Helper()
	c, err := Open(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	local := [4]byte{192, 168, 0, 1}
	if err := c.AddVeth("eth0", "switch0", local, 16); err != nil {
		t.Fatal(err)
	}
	if w, err = NewWatch("flannel.1"); err != nil {
		t.Fatal(err)
	}
	if link, err = c.AddVXLAN("flannel.1", "eth0", local); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, err := range []error{c.RemoveLink("flannel.1"), c.RemoveLink("eth0"), c.Close(), w.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return c, w, link
}

func until(t *testing.T, w *Watch, what string, done func() bool) {
	t.Helper()
	if _, err := w.Until(patience, done); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestWatchFollowsWhatIsWritten(t *testing.T) {
	c, w, link := node(t)
	const peers = 300
	if err := c.Write(link, 0, peers); err != nil {
		t.Fatal(err)
	}
	until(t, w, "written", func() bool { return w.Whole(peers) && w.Up })
	if w.Made != 3*peers || !w.Seen(peers-1) || w.Seen(peers) {
		t.Errorf("%d entries made, want %d; the last seen: %t, one behind it: %t", w.Made, 3*peers, w.Seen(peers-1), w.Seen(peers))
	}
	if err := c.Write(link, 0, peers); err != nil {
		t.Errorf("write what is there: %v", err)
	}
	for _, k := range Kinds {
		if err := c.RemoveKind(k, link, 7, 8); err != nil {
			t.Fatal(err)
		}
		until(t, w, "one "+k.String()+" removed", func() bool { return !w.Has(k, 7) })
		if !w.Has(k, 6) || !w.Has(k, 8) {
			t.Errorf("the removal of one %s took others with it", k)
		}
		if err := c.RemoveKind(k, link, 7, 8); err == nil {
			t.Errorf("removed a %s that is not there", k)
		}
	}
	if err := w.List(); err != nil {
		t.Fatal(err)
	}
	if !w.Whole(peers-1) || w.Has(Route, 7) {
		t.Error("a listing shows something else than the notifications")
	}
}

func TestWatchKnowsWhatGoesWithoutAWord(t *testing.T) {
	c, w, link := node(t)
	const peers = 10
	own := [4]byte{10, 128, 0, 0}
	for _, test := range []struct {
		name string
		harm func() error
	}{
		{"last address removed", func() error { return c.RemoveAddress("flannel.1", own, 32) }},
		{"device set down", func() error { return c.SetUp("flannel.1", false) }},
		{"device removed", func() error { return c.RemoveLink("flannel.1") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := c.SetUp("flannel.1", true); err != nil {
				t.Fatal(err)
			}
			if err := c.AddAddress("flannel.1", own, 32); err != nil {
				t.Fatal(err)
			}
			if err := c.Write(link, 0, peers); err != nil {
				t.Fatal(err)
			}
			until(t, w, "written", func() bool { return w.Whole(peers) && w.Up && w.Address })
			if err := test.harm(); err != nil {
				t.Fatal(err)
			}
			until(t, w, "harmed", func() bool { return !w.Has(Route, 0) })
			if err := w.Quiet(50 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			told := w.count
			if err := w.List(); err != nil {
				t.Fatal(err)
			}
			if told != w.count {
				t.Errorf("routes, neighbours and FDB entries by notifications %v, by listing %v", told, w.count)
			}
			_ = c.RemoveAddress("flannel.1", own, 32) // may be gone
		})
	}
}
