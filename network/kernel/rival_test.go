package kernel_test

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel"
)

// A port that another program has open is named with what to do about it, and taken as soon as it is free.
func TestPortInUse(t *testing.T) {
	for _, inet6 := range []bool{false, true} {
		h := newHost(t)
		want := overlay(inet6, 1)
		var conn *net.UDPConn
		h.do(t, func() (err error) {
			conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: 8472})
			return err
		})
		t.Cleanup(func() { conn.Close() })
		err := h.Apply(t.Context(), kernel.Diff(h.list(t), want))
		for _, words := range []string{"make link flannel", "address already in use", "another program on this host has UDP port 8472", "give the backend another port"} {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("error %v, want %q in it", err, words)
			}
		}
		conn.Close()
		h.converge(t, want)
	}
}

// A device of somebody else for the same VNI and port is named, and left alone.
func TestDeviceOfSomebodyElseIsInTheWay(t *testing.T) {
	h := newHost(t)
	want := overlay(false, 1)
	h.do(t, func() error {
		return netlink.LinkAdd(&netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vxlan.theirs"}, VxlanId: 1, Port: 8472, Learning: true})
	})
	err := h.Apply(t.Context(), kernel.Diff(h.list(t), want))
	if err == nil || !strings.Contains(err.Error(), "make link flannel.1 vxlan id 1") ||
		!strings.Contains(err.Error(), "the device vxlan.theirs has the same properties and is not ours; remove it or give it others") {
		t.Errorf("error: %v", err)
	}
	theirs := h.device(t, "vxlan.theirs")
	if have := h.list(t); len(have.Links) != 0 {
		t.Errorf("listed as ours:\n%s", have)
	}
	h.do(t, func() error { return netlink.LinkDel(theirs) })
	h.converge(t, want)
}
