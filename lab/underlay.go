package lab

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/weft-network/weft/subnet"
)

// uplink is the name of the device by which a host reaches the underlay.
const uplink = "eth0"

// underlay is what joins the hosts: one switch for each rack, and a router between the racks that is the world outside too.
type underlay struct {
	opts     Options
	switches *Host // all racks' bridges
	router   *Host
	made     []*Host
}

func newUnderlay(opts Options) (*underlay, error) {
	u := &underlay{opts: opts}
	var err error
	if u.switches, err = u.host("switch"); err != nil {
		return u, err
	}
	if u.router, err = u.host("router"); err != nil {
		return u, err
	}
	if err := u.forward(); err != nil {
		return u, err
	}
	for rack := range opts.Racks {
		if err := u.addRack(rack); err != nil {
			return u, err
		}
	}
	return u, u.addOutside()
}

// host makes a host that belongs to the underlay's books, so that close finds it.
func (u *underlay) host(name string) (*Host, error) {
	h, err := newHost(name, nil)
	if err != nil {
		return nil, err
	}
	u.made = append(u.made, h)
	return h, h.up("lo")
}

func (u *underlay) close() {
	for _, h := range u.made {
		h.close()
	}
}

// forward lets the router route.
func (u *underlay) forward() error {
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := u.router.setSysctl(name, "1"); err != nil {
			return err
		}
	}
	return nil
}

// addRack makes the bridge of a rack and the router's port on it.
func (u *underlay) addRack(rack int) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: rackName(rack), MTU: u.opts.MTU}}
	if err := u.switches.nl.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make the bridge of rack %d: %w", rack, err)
	}
	if err := u.switches.up(bridge.Name); err != nil {
		return err
	}
	var addrs []netip.Prefix
	for _, f := range u.opts.Families {
		addrs = append(addrs, hostPrefix(f, rack, routerNumber))
	}
	return u.plug(u.router, rackName(rack), rack, addrs)
}

func rackName(rack int) string { return "rack" + strconv.Itoa(rack) }

// addOutside gives the router the addresses that stand for the world.
func (u *underlay) addOutside() error {
	var addrs []netip.Prefix
	for _, f := range u.opts.Families {
		addrs = append(addrs, netip.PrefixFrom(outsideAddrs[f], f.Bits()))
		u.router.Addrs = append(u.router.Addrs, outsideAddrs[f])
	}
	return u.router.up("lo", addrs...)
}

// plug joins a host to the bridge of a rack: device is the host's end.
func (u *underlay) plug(h *Host, device string, rack int, addrs []netip.Prefix) error {
	port := h.Name
	if h == u.router {
		port = "router" + strconv.Itoa(rack)
	}
	bridge, err := u.switches.nl.LinkByName(rackName(rack))
	if err != nil {
		return fmt.Errorf("find the bridge of rack %d: %w", rack, err)
	}
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: port, MTU: u.opts.MTU, MasterIndex: bridge.Attrs().Index},
		PeerName:      device,
		PeerNamespace: netlink.NsFd(netns.NsHandle(h.net)),
	}
	if err := u.switches.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("join %s to rack %d: %w", h.Name, rack, err)
	}
	if err := u.switches.up(port); err != nil {
		return err
	}
	return h.up(device, addrs...)
}

// addHost makes a host with the given number in a rack, with the router as its way out.
func (u *underlay) addHost(name string, rack, number int) (*Host, error) {
	h, err := u.host(name)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Prefix
	for _, f := range u.opts.Families {
		p := hostPrefix(f, rack, number)
		addrs = append(addrs, p)
		h.Addrs = append(h.Addrs, p.Addr())
	}
	if err := u.plug(h, uplink, rack, addrs); err != nil {
		return nil, err
	}
	return h, u.defaultRoutes(h, rack)
}

// defaultRoutes sends a host's traffic to the world by the router.
func (u *underlay) defaultRoutes(h *Host, rack int) error {
	for _, f := range u.opts.Families {
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if f == subnet.Inet6 {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		if err := h.route(all, hostPrefix(f, rack, routerNumber).Addr()); err != nil {
			return err
		}
	}
	return nil
}
