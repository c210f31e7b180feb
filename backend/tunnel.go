package backend

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// minMTUInet is the smallest MTU that IPv4 works with (RFC 791), and that the kernel takes.
const minMTUInet = 68

// CheckTunnel tells whether a device of family f with that MTU is of use to n's pods. overhead is what b adds there, and
// settings is what must be larger then, in words.
func (n *Node) CheckTunnel(kind string, f subnet.Family, mtu, overhead int, settings string) error {
	// Pods have one MTU, so that the device of IPv4 must suit IPv6 too.
	least, what := minMTUInet, "IPv4"
	if n.Networks[subnet.Inet6].Enabled() {
		least, what = MinMTUInet6, "IPv6 in the pods"
	}
	if mtu >= least {
		return nil
	}
	return fmt.Errorf("%s %s over %s would carry packets of %d bytes at most and %s needs %d: %s must be %d or more",
		f, kind, n.Uplinks[f].Link, mtu, what, least, settings, least+overhead)
}

// TunnelCheck returns the check of a backend of which a device is as large as the uplink's own MTU lets it be.
func (n *Node) TunnelCheck(kind string, b Backend) func(subnet.Family) error {
	return func(f subnet.Family) error {
		u := n.Uplinks[f]
		return n.CheckTunnel(kind, f, b.MTU(u), b.Overhead(u.Addr), "the uplink's MTU")
	}
}

// AnnounceTunnels is Announce for a backend with a device for each family. It is an error where check says of one that it
// cannot be.
func (n *Node) AnnounceTunnels(kind string, check func(subnet.Family) error) (subnet.Attrs, error) {
	a, err := n.Announce(kind)
	if err != nil {
		return subnet.Attrs{}, err
	}
	var errs []error
	for _, f := range subnet.Families {
		if n.Serves(f) {
			errs = append(errs, check(f))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return subnet.Attrs{}, err
	}
	return a, nil
}

// AddTunnels adds to s what device returns for each family in which n takes part with a subnet in own, and its address: the
// first of the subnet, as a host address, so that no route to the subnet comes with it. Families of which check says that
// their devices cannot be are left out, and are in the error.
func (n *Node) AddTunnels(own *subnet.Lease, s *kernel.State, check func(subnet.Family) error, device func(subnet.Family) kernel.Link) error {
	var errs []error
	for _, f := range subnet.Families {
		if !n.Serves(f) || !own.Subnets[f].IsValid() {
			continue
		}
		if err := check(f); err != nil {
			errs = append(errs, err)
			continue
		}
		link := device(f)
		s.Links.Add(link)
		s.Addrs.Add(kernel.Addr{Link: link.Name, Prefix: netip.PrefixFrom(own.Subnets[f].Masked().Addr(), f.Bits())})
	}
	return errors.Join(errs...)
}

// AddPeer calls add for each family in which n can serve peer, and adds to s what that has added. Where there is an error, which
// names the peer, it adds nothing.
func (n *Node) AddPeer(peer *subnet.Lease, s *kernel.State, add func(f subnet.Family, more *kernel.State) error) error {
	shared, err := n.Shared(peer)
	if err != nil {
		return Explain(*peer, err)
	}
	var more kernel.State
	var errs []error
	for _, f := range subnet.Families {
		if shared[f] {
			errs = append(errs, add(f, &more))
		}
	}
	if err = errors.Join(errs...); err == nil {
		err = Merge(s, more)
	}
	if err != nil {
		return Explain(*peer, err)
	}
	return nil
}
