package backend

import (
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/subnet"
)

// MinMTUInet6 is the smallest MTU that IPv6 works with (RFC 8200, section 5); the kernel turns IPv6 off on a device below it.
const MinMTUInet6 = 1280

// MTU is the size in bytes of the largest packet that n's pods may send: the smallest that fits through b over the
// uplinks of the families in use. It is 0 where there is no such uplink.
func MTU(b Backend, n Node) int {
	smallest := 0
	for _, f := range subnet.Families {
		if !n.Serves(f) {
			continue
		}
		if m := b.MTU(n.Uplinks[f]); smallest == 0 || m < smallest {
			smallest = m
		}
	}
	return smallest
}

// RouteMTU is what packets on a route to peer must be held to where its uplink takes smaller ones than n's; 0 where it
// does not, and the device on this side decides. mtu says how large packets on the route may be over an uplink.
func (n *Node) RouteMTU(f subnet.Family, peer *subnet.Lease, mtu func(Uplink) int) int {
	u := n.Uplinks[f]
	if peer.MTU == 0 || peer.MTU >= u.MTU {
		return 0
	}
	whole := mtu(u)
	u.MTU = peer.MTU
	held := mtu(u)
	if f == subnet.Inet6 {
		held = max(held, MinMTUInet6)
	}
	if held >= whole || held <= 0 {
		return 0
	}
	return held
}

// CheckMTU tells whether pods can have an MTU with b that the families of networks work with, however large the uplinks
// are: where they cannot, the MTU in b's config is too small. kind is b's, for the error.
func CheckMTU(kind string, b Backend, networks [2]subnet.Network) error {
	if !networks[subnet.Inet6].Enabled() {
		return nil
	}
	var err error
	least := MinMTUInet6
	for _, f := range subnet.Families {
		if !networks[f].Enabled() {
			continue
		}
		u := Uplink{MTU: 1 << 16, Addr: netip.IPv4Unspecified()}
		if f == subnet.Inet6 {
			u.Addr = netip.IPv6Unspecified()
		}
		if pods, overhead := b.MTU(u), b.Overhead(u.Addr); pods < least {
			least = pods
			err = fmt.Errorf("Backend.MTU: %d leaves pods %d bytes with %s over %s, and IPv6 works with %d at least: %d or more is right",
				pods+overhead, pods, kind, f, MinMTUInet6, MinMTUInet6+overhead)
		}
	}
	return err
}
