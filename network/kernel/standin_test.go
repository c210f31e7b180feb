package kernel_test

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel"
)

// A kernel without WireGuard gets a TUN device of the same name, which is changed in place and taken away as any other of ours.
func TestStandIn(t *testing.T) {
	h := newHost(t)
	var want kernel.State
	want.Links.Add(kernel.Link{Name: "flannel-wg", MTU: 1420, Up: true, WireGuard: kernel.WireGuard{PrivateKey: kernel.Key{1}, Port: 51820}})
	apply(t, h, kernel.Change{Put: want})
	if kernel.KnowsWireGuard() {
		apply(t, h, kernel.Change{Drop: want})
		var instead kernel.State // as a kernel leaves it that had no WireGuard then
		instead.Links.Add(kernel.Link{Name: "flannel-wg", MTU: 1420, Up: true, TUN: true})
		apply(t, h, kernel.Change{Put: instead})
		apply(t, h, kernel.Change{Put: want})
		if kind := h.device(t, "flannel-wg").Type(); kind != "wireguard" {
			t.Errorf("it is of kind %s, and the kernel has WireGuard", kind)
		}
		return
	}
	before, ok := h.device(t, "flannel-wg").(*netlink.Tuntap)
	if !ok || before.Mode != netlink.TUNTAP_MODE_TUN || before.Attrs().MTU != 1420 {
		t.Fatalf("it is %+v", before)
	}
	apply(t, h, kernel.Change{Put: with(want, device("flannel-wg", func(l *kernel.Link) { l.MTU, l.WireGuard.Port = 1300, 1 }))})
	if after := h.device(t, "flannel-wg").Attrs(); after.Index != before.Index || after.MTU != 1300 {
		t.Errorf("index %d became %d, and the MTU is %d", before.Index, after.Index, after.MTU)
	}
	apply(t, h, kernel.Change{Drop: want})
	h.converge(t, kernel.State{})
}

func apply(t *testing.T, h host, c kernel.Change) {
	t.Helper()
	if err := h.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}
