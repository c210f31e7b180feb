package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// router asks the kernel which way an address is reached. *kernel.Kernel is one.
type router interface {
	RouteTo(ctx context.Context, a netip.Addr) (link string, src netip.Addr, err error)
}

// choose finds the uplink of each family that is wanted. A family without one is an error; the other family's uplink
// is returned all the same.
func (r UplinkRules) choose(ctx context.Context, facts kernel.Facts, kern router, wanted [2]bool) ([2]backend.Uplink, error) {
	var ups [2]backend.Uplink
	var errs []error
	for _, f := range subnet.Families {
		if !wanted[f] {
			continue
		}
		up, err := r.chooseFamily(ctx, f, facts, kern)
		if err != nil {
			errs = append(errs, fmt.Errorf("no %s uplink: %w", f, err))
			continue
		}
		ups[f] = up
	}
	return ups, errors.Join(errs...)
}

func (r UplinkRules) chooseFamily(ctx context.Context, f subnet.Family, facts kernel.Facts, kern router) (backend.Uplink, error) {
	dev, addr, reason, err := r.pick(ctx, f, facts, kern)
	if err != nil {
		return backend.Uplink{}, err
	}
	if !addr.IsValid() {
		p := firstAddr(dev, f)
		if !p.IsValid() {
			return backend.Uplink{}, fmt.Errorf("device %s (%s) has no %s address; give it one, or choose another device with --iface", dev.Name, reason, f)
		}
		addr = p.Addr()
	}
	up := backend.Uplink{Link: dev.Name, MTU: dev.MTU, Addr: addr, Public: addr, Reason: reason}
	if p := r.told(f); p.Addr.IsValid() {
		up.Public = p.Addr
		if p.Addr != addr {
			up.Reason += fmt.Sprintf("; announced as %s (%s)", p.Addr, p.Origin)
		}
	}
	for _, p := range dev.Addrs {
		if subnet.FamilyOf(p.Addr()) == f {
			up.OnLink = append(up.OnLink, p.Masked())
		}
	}
	return up, nil
}

// pick applies the rules in their order. The address is valid where a rule names it.
func (r UplinkRules) pick(ctx context.Context, f subnet.Family, facts kernel.Facts, kern router) (kernel.Device, netip.Addr, string, error) {
	none := netip.Addr{}
	switch {
	case len(r.Ifaces) > 0 || len(r.Regexps) > 0:
		dev, addr, reason, ok := r.named(f, facts)
		if !ok {
			return dev, none, "", fmt.Errorf("no device with an %s address matches %s; name another one: this host has %s", f, r, devices(facts))
		}
		return dev, addr, reason, nil
	case r.CanReach.IsValid() && subnet.FamilyOf(r.CanReach) == f:
		link, src, err := kern.RouteTo(ctx, r.CanReach)
		if err != nil {
			return kernel.Device{}, none, "", fmt.Errorf("no route to %s (--iface-can-reach): %w", r.CanReach, err)
		}
		dev, ok := device(facts, link)
		if !ok {
			return dev, none, "", fmt.Errorf("device %s, by which %s is reached, is gone", link, r.CanReach)
		}
		return dev, src, fmt.Sprintf("it reaches %s (--iface-can-reach)", r.CanReach), nil
	}
	for _, h := range []subnet.Hint{r.public(f), r.self.Uplink[f]} {
		if dev, ok := holder(facts, h.Addr); ok {
			return dev, h.Addr, fmt.Sprintf("it has the address %s (%s)", h.Addr, h.Origin), nil
		}
	}
	dev, addr, reason, err := defaultDevice(f, facts)
	if h := r.self.Uplink[f]; h.Addr.IsValid() {
		reason += fmt.Sprintf("; no device has %s (%s)", h.Addr, h.Origin)
	}
	return dev, addr, reason, err
}

// with returns the rules beside what the store says of this node.
func (r UplinkRules) with(s subnet.Self) UplinkRules {
	r.self = s
	return r
}

// public is what peers are to be told, unless that is overwritten: a device that has this address is the uplink.
func (r UplinkRules) public(f subnet.Family) subnet.Hint {
	if p := r.Public[f]; p.IsValid() {
		return subnet.Hint{Addr: p, Origin: [2]string{"--public-ip", "--public-ipv6"}[f]}
	}
	return r.self.Public[f]
}

// told is what peers are to be told; the zero Hint where that is the device's address.
func (r UplinkRules) told(f subnet.Family) subnet.Hint {
	if h := r.self.Overwrite[f]; h.Addr.IsValid() {
		return h
	}
	return r.public(f)
}

// named returns the first device that --iface or --iface-regex names and that has an address of the family.
func (r UplinkRules) named(f subnet.Family, facts kernel.Facts) (kernel.Device, netip.Addr, string, bool) {
	for _, name := range r.Ifaces {
		if a, err := netip.ParseAddr(name); err == nil {
			if dev, ok := holder(facts, a); ok && subnet.FamilyOf(a) == f {
				return dev, a, fmt.Sprintf("it has the address %s (--iface)", a), true
			} else if ok { // chosen by an address of the other family
				if firstAddr(dev, f).IsValid() {
					return dev, netip.Addr{}, fmt.Sprintf("it has the address %s (--iface)", a), true
				}
			}
			continue
		}
		if dev, ok := device(facts, name); ok && firstAddr(dev, f).IsValid() {
			return dev, netip.Addr{}, fmt.Sprintf("named by --iface %s", name), true
		}
	}
	for _, re := range r.Regexps {
		for _, dev := range facts.Devices {
			if re.MatchString(dev.Name) && !dev.Ours && firstAddr(dev, f).IsValid() {
				return dev, netip.Addr{}, fmt.Sprintf("name matches --iface-regex %s", re), true
			}
		}
		for _, dev := range facts.Devices {
			for _, p := range dev.Addrs {
				if !dev.Ours && subnet.FamilyOf(p.Addr()) == f && re.MatchString(p.Addr().String()) {
					return dev, p.Addr(), fmt.Sprintf("address matches --iface-regex %s", re), true
				}
			}
		}
	}
	return kernel.Device{}, netip.Addr{}, "", false
}

// defaultDevice returns the device of the family's default route with the lowest metric.
func defaultDevice(f subnet.Family, facts kernel.Facts) (kernel.Device, netip.Addr, string, error) {
	for _, d := range facts.Defaults {
		if subnet.FamilyOf(d.Dst.Addr()) != f {
			continue
		}
		if dev, ok := device(facts, d.Link); ok && !dev.Ours && firstAddr(dev, f).IsValid() {
			return dev, d.Src, "it has the default route", nil
		}
	}
	return kernel.Device{}, netip.Addr{}, "", fmt.Errorf("no %s default route through a device with an address; add one, or name the device with --iface; this host has %s", f, devices(facts))
}

// device returns the device of a name.
func device(facts kernel.Facts, name string) (kernel.Device, bool) {
	i := slices.IndexFunc(facts.Devices, func(d kernel.Device) bool { return d.Name == name })
	if i < 0 {
		return kernel.Device{}, false
	}
	return facts.Devices[i], true
}

// holder returns the device that has the address.
func holder(facts kernel.Facts, a netip.Addr) (kernel.Device, bool) {
	for _, d := range facts.Devices {
		for _, p := range d.Addrs {
			if p.Addr() == a {
				return d, true
			}
		}
	}
	return kernel.Device{}, false
}

// firstAddr is the first address of the family on a device, as the kernel orders them: the oldest.
func firstAddr(d kernel.Device, f subnet.Family) netip.Prefix {
	for _, p := range d.Addrs {
		if subnet.FamilyOf(p.Addr()) == f {
			return p
		}
	}
	return netip.Prefix{}
}

// String names the rules as flags.
func (r UplinkRules) String() string {
	var words []string
	for _, n := range r.Ifaces {
		words = append(words, "--iface "+n)
	}
	for _, re := range r.Regexps {
		words = append(words, "--iface-regex "+re.String())
	}
	return strings.Join(words, " ")
}

// devices lists a host's devices with their addresses, for error messages.
func devices(facts kernel.Facts) string {
	var words []string
	for _, d := range facts.Devices {
		if d.Loopback || d.Ours {
			continue
		}
		var addrs []string
		for _, p := range d.Addrs {
			addrs = append(addrs, p.Addr().String())
		}
		words = append(words, strings.TrimSpace(d.Name+" "+strings.Join(addrs, ",")))
	}
	if len(words) == 0 {
		return "no devices but loopback"
	}
	return strings.Join(words, "; ")
}

// sameUplinks tells whether nothing about the uplinks differs that the kernel or a peer would notice.
func sameUplinks(a, b [2]backend.Uplink) bool {
	for f := range a {
		if !slices.Equal(a[f].OnLink, b[f].OnLink) {
			return false
		}
		x, y := a[f], b[f]
		if x.Link != y.Link || x.MTU != y.MTU || x.Addr != y.Addr || x.Public != y.Public {
			return false
		}
	}
	return true
}
