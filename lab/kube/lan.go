package kube

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// The underlay is one network, on a bridge in the network namespace of the process that runs the cluster. That process is
// the router of the nodes, and on the far side of it is the world outside the cluster.
const lanBridge = "lan"

// hostNumber is the last part of a machine's address: that of the control plane, or of the first node.
const (
	controlNumber = 1
	nodeNumber    = 11
)

// lanAddr is an address of the underlay.
func lanAddr(f subnet.Family, number int) netip.Addr {
	if f == subnet.Inet {
		return netip.AddrFrom4([4]byte{172, 30, 0, byte(number)})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x30, 15: byte(number)})
}

// lanBits is the length of the underlay's network.
func lanBits(f subnet.Family) int { return [...]int{24, 64}[f] }

// Outside are addresses that are neither of a node nor of a pod: a node reaches them by its default route, and who has them
// reaches nodes.
func Outside() [2]netip.Addr {
	return [2]netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:ffff::1")}
}

// newLAN makes the bridge, with the control plane's addresses, and the world outside on loopback.
func newLAN() error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: lanBridge}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make the underlay: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("make the underlay: %w", err)
	}
	errs := []error{netlink.LinkSetUp(lo)}
	for _, f := range subnet.Families {
		errs = append(errs, addAddr(nil, bridge, netip.PrefixFrom(lanAddr(f, controlNumber), lanBits(f))))
		out := Outside()[f]
		errs = append(errs, addAddr(nil, lo, netip.PrefixFrom(out, out.BitLen())))
	}
	errs = append(errs, netlink.LinkSetUp(bridge), setSysctl("net/ipv4/ip_forward", "1"), setSysctl("net/ipv6/conf/all/forwarding", "1"))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make the underlay: %w", err)
	}
	return nil
}

// removeLAN takes away what newLAN made.
func removeLAN() error {
	l, err := netlink.LinkByName(lanBridge)
	if err != nil {
		return nil // there is none
	}
	if err := netlink.LinkDel(l); err != nil {
		return fmt.Errorf("remove the underlay: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("remove the underlay: %w", err)
	}
	var errs []error
	for _, out := range Outside() {
		errs = append(errs, netlink.AddrDel(lo, &netlink.Addr{IPNet: &net.IPNet{IP: out.AsSlice(), Mask: net.CIDRMask(out.BitLen(), out.BitLen())}}))
	}
	return errors.Join(errs...)
}

// unplug takes the machine's device away.
func (m *machine) unplug() error {
	l, err := netlink.LinkByName(m.port())
	if err != nil {
		return err
	}
	return netlink.LinkDel(l)
}

// addAddr adds an address that is usable at once. A nil handle is the calling process's namespace.
func addAddr(h *netlink.Handle, l netlink.Link, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}, Flags: unix.IFA_F_NODAD}
	if h == nil {
		return netlink.AddrAdd(l, addr)
	}
	return h.AddrAdd(l, addr)
}

// setSysctl sets a parameter of the network namespace of the calling thread.
func setSysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644)
}

// uplinkDevice is the device of a node.
const uplinkDevice = "eth0"

// port is the name of a machine's port on the bridge.
func (m *machine) port() string { return "to-" + m.name }

// plug joins the machine, which has just been switched on, to the underlay.
func (m *machine) plug() error {
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: m.port()})
	veth.PeerName, veth.PeerNamespace = uplinkDevice, netlink.NsPid(m.init.cmd.Process.Pid)
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("plug in %s: %w", m.name, err)
	}
	bridge, err := netlink.LinkByName(lanBridge)
	if err != nil {
		return fmt.Errorf("plug in %s: %w", m.name, err)
	}
	if err := errors.Join(netlink.LinkSetMaster(veth, bridge), netlink.LinkSetUp(veth), m.configure()); err != nil {
		return fmt.Errorf("plug in %s: %w", m.name, err)
	}
	return nil
}

// configure gives the machine's devices their addresses and routes.
func (m *machine) configure() error {
	ns, err := netns.GetFromPid(m.init.cmd.Process.Pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	var errs []error
	for _, name := range []string{"lo", uplinkDevice} {
		l, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		if name == uplinkDevice {
			for f, a := range m.addrs {
				if a.IsValid() {
					errs = append(errs, addAddr(h, l, netip.PrefixFrom(a, lanBits(subnet.Family(f)))))
				}
			}
		}
		errs = append(errs, h.LinkSetUp(l))
	}
	for f, a := range m.addrs {
		if a.IsValid() {
			errs = append(errs, h.RouteReplace(&netlink.Route{Gw: lanAddr(subnet.Family(f), controlNumber).AsSlice(), Protocol: unix.RTPROT_STATIC}))
		}
	}
	return errors.Join(errs...)
}

// Unplug takes the cable of the machine's uplink out; Plug puts it in again.
func (m *machine) Unplug() error { return m.cable(netlink.LinkSetDown) }

// Plug puts the cable in again.
func (m *machine) Plug() error { return m.cable(netlink.LinkSetUp) }

func (m *machine) cable(set func(netlink.Link) error) error {
	l, err := netlink.LinkByName(m.port())
	if err == nil {
		err = set(l)
	}
	if err != nil {
		return fmt.Errorf("change the cable of %s: %w", m.name, err)
	}
	return nil
}

// hasAddr tells whether a device of the calling thread's network namespace has one of the addresses.
func hasAddr(addrs [2]netip.Addr) bool {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return false
	}
	defer h.Close()
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return false
	}
	for _, a := range list {
		ip, _ := netip.AddrFromSlice(a.IP)
		if ip = ip.Unmap(); ip == addrs[0] || ip == addrs[1] {
			return true
		}
	}
	return false
}
