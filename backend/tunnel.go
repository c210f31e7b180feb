package backend

import (
	"errors"
	"fmt"

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

// AddTunnels calls add for each family in which n takes part with a subnet in own, but for those of which check says that
// their devices cannot be: these are in the error.
func (n *Node) AddTunnels(own *subnet.Lease, check func(subnet.Family) error, add func(subnet.Family)) error {
	var errs []error
	for _, f := range subnet.Families {
		if !n.Serves(f) || !own.Subnets[f].IsValid() {
			continue
		}
		if err := check(f); err != nil {
			errs = append(errs, err)
			continue
		}
		add(f)
	}
	return errors.Join(errs...)
}
