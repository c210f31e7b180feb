package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// routes are weft's routes on the node.
func (n *Node) routes() ([]netlink.Route, error) {
	filter := &netlink.Route{Protocol: kernel.RouteProtocol}
	routes, err := n.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, fmt.Errorf("list weft's routes: %w", err)
	}
	if len(routes) == 0 {
		return nil, errNothing
	}
	return routes, nil
}

func (n *Node) deleteRoute() error {
	routes, err := n.routes()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(routes, func(r netlink.Route) bool { return r.Gw != nil })
	return n.dropRoute(routes[max(i, 0)])
}

func (n *Node) deleteRoutes() error {
	routes, err := n.routes()
	if err != nil {
		return err
	}
	return all(routes, n.dropRoute)
}

func (n *Node) dropRoute(r netlink.Route) error {
	if err := n.nl.RouteDel(&r); err != nil {
		return fmt.Errorf("delete route %s: %w", r.Dst, err)
	}
	return nil
}

// flushRoutes empties the main table. What the system made, the system makes again: the lab stands for it.
func (n *Node) flushRoutes() error {
	routes, err := n.nl.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	// Routes by a gateway first: the kernel takes them along with the route to the gateway otherwise.
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return len(b.Gw) - len(a.Gw) })
	for _, r := range routes {
		if r.Dst != nil && ownByKernel(r.Dst) {
			continue
		}
		if err := n.dropRoute(r); err != nil {
			return err
		}
	}
	return n.restoreRoutes(routes)
}

// restoreRoutes makes again those routes that are not weft's.
func (n *Node) restoreRoutes(routes []netlink.Route) error {
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return len(a.Gw) - len(b.Gw) })
	for _, r := range routes {
		if r.Protocol == kernel.RouteProtocol || r.Dst != nil && ownByKernel(r.Dst) {
			continue
		}
		if err := n.nl.RouteReplace(&r); err != nil {
			return fmt.Errorf("restore route %s: %w", r.Dst, err)
		}
	}
	return nil
}

// tunnels are weft's devices on the node.
func (n *Node) tunnels() ([]netlink.Link, error) {
	links, err := n.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	links = slices.DeleteFunc(links, func(l netlink.Link) bool { return !strings.HasPrefix(l.Attrs().Name, "flannel") })
	if len(links) == 0 {
		return nil, errNothing
	}
	return links, nil
}

// entries are permanent neighbours or, with family AF_BRIDGE, FDB entries of weft's devices.
func (n *Node) entries(family int) ([]netlink.Neigh, error) {
	tunnels, err := n.tunnels()
	if err != nil {
		return nil, err
	}
	var found []netlink.Neigh
	for _, l := range tunnels {
		entries, err := n.nl.NeighList(l.Attrs().Index, family)
		if err != nil {
			return nil, fmt.Errorf("list entries of %s: %w", l.Attrs().Name, err)
		}
		for _, e := range entries {
			if e.State&netlink.NUD_PERMANENT != 0 && len(e.HardwareAddr) > 0 && e.IP != nil {
				e.Family = family
				found = append(found, e)
			}
		}
	}
	if len(found) == 0 {
		return nil, errNothing
	}
	return found, nil
}

func (n *Node) neighbours() ([]netlink.Neigh, error) {
	var found []netlink.Neigh
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		entries, err := n.entries(family)
		if err != nil && !errors.Is(err, errNothing) {
			return nil, err
		}
		found = append(found, entries...)
	}
	if len(found) == 0 {
		return nil, errNothing
	}
	return found, nil
}

func (n *Node) deleteNeighbour() error {
	entries, err := n.neighbours()
	if err != nil {
		return err
	}
	return n.dropEntry(entries[0])
}

func (n *Node) deleteNeighbours() error {
	entries, err := n.neighbours()
	if err != nil {
		return err
	}
	return all(entries, n.dropEntry)
}

func (n *Node) deleteForward() error {
	entries, err := n.entries(unix.AF_BRIDGE)
	if err != nil {
		return err
	}
	return n.dropEntry(entries[0])
}

func (n *Node) deleteForwards() error {
	entries, err := n.entries(unix.AF_BRIDGE)
	if err != nil {
		return err
	}
	return all(entries, n.dropEntry)
}

func (n *Node) dropEntry(e netlink.Neigh) error {
	if err := n.nl.NeighDel(&e); err != nil {
		return fmt.Errorf("delete the entry of %s and %s: %w", e.IP, e.HardwareAddr, err)
	}
	return nil
}

func (n *Node) deleteAddresses() error {
	return n.eachTunnel(func(l netlink.Link) error {
		addrs, err := n.nl.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, a := range addrs {
			if a.IP.IsLinkLocalUnicast() {
				continue
			}
			if err := n.nl.AddrDel(l, &a); err != nil {
				return fmt.Errorf("delete address %s: %w", a.IPNet, err)
			}
		}
		return nil
	})
}

func (n *Node) deleteDevices() error {
	return n.eachTunnel(func(l netlink.Link) error {
		if err := n.nl.LinkDel(l); err != nil {
			return fmt.Errorf("delete %s: %w", l.Attrs().Name, err)
		}
		return nil
	})
}

func (n *Node) bounceDevices() error { return n.eachTunnel(n.bounce) }

func (n *Node) changeMTU() error {
	return n.eachTunnel(func(l netlink.Link) error {
		if err := n.nl.LinkSetMTU(l, 1300); err != nil {
			return fmt.Errorf("change the MTU of %s: %w", l.Attrs().Name, err)
		}
		return nil
	})
}

func (n *Node) eachTunnel(f func(netlink.Link) error) error {
	tunnels, err := n.tunnels()
	if err != nil {
		return err
	}
	return all(tunnels, f)
}

func (n *Node) bounce(l netlink.Link) error {
	if err := n.nl.LinkSetDown(l); err != nil {
		return fmt.Errorf("set %s down: %w", l.Attrs().Name, err)
	}
	if err := n.nl.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", l.Attrs().Name, err)
	}
	return nil
}

// bounceUplink sets the uplink down and up. The kernel drops its IPv6 addresses and the default routes; the lab gives
// them back, as the network manager of a machine does.
func (n *Node) bounceUplink() error {
	link, err := n.nl.LinkByName(uplink)
	if err != nil {
		return fmt.Errorf("find %s: %w", uplink, err)
	}
	if err := n.bounce(link); err != nil {
		return err
	}
	var addrs []netip.Prefix
	for _, a := range n.Addrs {
		addrs = append(addrs, netip.PrefixFrom(a, rackNetwork(subnet.FamilyOf(a), n.Rack).Bits()))
	}
	if err := n.up(uplink, addrs...); err != nil {
		return err
	}
	return n.lab.underlay.defaultRoutes(n.Host, n.Rack)
}

// deleteEverything is the worst that somebody can do with three commands.
func (n *Node) deleteEverything() error {
	errs := []error{n.deleteDevices(), n.deleteRoutes(), n.flushRuleset()}
	for i, err := range errs {
		if errors.Is(err, errNothing) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

// all calls f for every object and joins the errors.
func all[T any](objects []T, f func(T) error) error {
	var errs []error
	for _, o := range objects {
		errs = append(errs, f(o))
	}
	return errors.Join(errs...)
}
