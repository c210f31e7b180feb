package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// noLinkLocal is the mode in which the kernel makes no link-local address (IN6_ADDR_GEN_MODE_NONE).
const noLinkLocal = 1

// mustRemake tells whether only a new device can be as l says: the kernel fixes some properties when it makes one.
func (a *applier) mustRemake(d device, l Link) bool {
	k := l.kind()
	return d.odd || k.remake != nil && k.remake(d.link(a.all), l)
}

// loses tells whether d forgets entries when it becomes l.
func (a *applier) loses(d device, l Link) bool {
	return l.kind() != nil && l.kind().name == d.kind && a.mustRemake(d, l) || standsIn(d, l) && KnowsWireGuard() || l.MAC != MAC{} && l.MAC != d.mac || d.up() && !l.Up
}

// dropRivals takes away the devices that new ones cannot be made beside.
func (a *applier) dropRivals(c Change) error {
	return a.dropLinks(c, func(old Link) bool {
		for _, l := range c.Put.Links {
			if areRivals(l, old) {
				return true
			}
		}
		return false
	})
}

// areRivals tells whether the kernel refuses two such devices beside each other.
func areRivals(x, y Link) bool {
	k := x.kind()
	return k != nil && k == y.kind() && k.rivals != nil && k.rivals(x, y)
}

// dropOthers takes away the other devices, at the end: by then routes lead elsewhere and no packet is lost.
func (a *applier) dropOthers(c Change) error {
	return a.dropLinks(c, func(Link) bool { return true })
}

// dropLinks takes away those devices that which tells. One that has become another kind of device is not ours any more.
func (a *applier) dropLinks(c Change, which func(Link) bool) error {
	for _, l := range sorted(c.Drop.Links) {
		if d, ok := a.all[a.index[l.Name]]; ok && d.isOurs() && which(l) {
			if err := a.deleteLink(l, d.index); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *applier) deleteLink(l Link, index int) error {
	delete(a.index, l.Name)
	delete(a.all, index)
	return a.request(func(err error) {
		if !isGone(err) {
			a.failed(true, l, err)
		}
	}, func(w *writer) {
		beginLink(w, unix.RTM_DELLINK, 0, index, 0, 0)
	})
}

// putLinks makes or changes devices.
func (a *applier) putLinks(c Change) error {
	for _, l := range sorted(c.Put.Links) {
		if err := a.putLink(l); err != nil {
			return err
		}
	}
	if len(c.Put.Links) == 0 {
		return nil
	}
	return a.lookAtAll() // new devices have indexes that only the kernel knows
}

func (a *applier) putLink(l Link) error {
	k := l.kind()
	if k == nil {
		a.failed(false, l, errNoKind)
		return nil
	}
	parent := a.index[l.parent()]
	if parent == 0 && l.parent() != "" {
		a.failed(false, l, errNoDevice(l.parent()))
		return nil
	}
	d, exists := a.all[a.index[l.Name]]
	switch {
	case exists && standsIn(d, l) && !KnowsWireGuard():
		return a.changeLink(standIn(l), d, 0)
	case exists && d.kind != k.name && !standsIn(d, l):
		a.failed(false, l, fmt.Errorf("%w: a device of this name is there already, and it is %s rather than %s; "+
			"it is not ours, so remove or rename it", unix.EEXIST, kindWords(d), k.name))
		return nil
	case exists && d.kind == k.name && !a.mustRemake(d, l):
		return a.changeLink(l, d, parent)
	case exists:
		if err := a.deleteLink(l, d.index); err != nil {
			return err
		}
	}
	return a.makeLink(l, parent)
}

var errNoKind = errors.New("it does not say of what kind the device is to be")

func kindWords(d device) string {
	if d.kind == "" {
		return "a plain device"
	}
	return "of kind " + d.kind
}

// makeLink makes the device. It is set up last, with IPv6 told before not to make up addresses.
func (a *applier) makeLink(l Link, parent int) error {
	made, err := a.createLink(&l, parent)
	if err != nil || !made {
		return err
	}
	err = a.request(func(error) {}, func(w *writer) { // a kernel without IPv6 refuses it and needs it not
		beginLink(w, unix.RTM_NEWLINK, 0, 0, 0, 0)
		w.text(unix.IFLA_IFNAME, l.Name)
		families := w.nest(unix.IFLA_AF_SPEC)
		inet6 := w.nest(unix.AF_INET6)
		w.u8(unix.IFLA_INET6_ADDR_GEN_MODE, noLinkLocal)
		w.unnest(inet6)
		w.unnest(families)
	})
	if err == nil && l.kind().set != nil {
		err = l.kind().set(a, l)
	}
	if err != nil || !l.Up && l.kind().create == nil {
		return err
	}
	return a.request(func(err error) { a.failed(false, l, l.explain(err)) }, func(w *writer) {
		beginLink(w, unix.RTM_NEWLINK, 0, 0, upFlag(l), unix.IFF_UP)
		w.text(unix.IFLA_IFNAME, l.Name)
		if l.MTU != 0 && l.kind().create != nil {
			w.u32(unix.IFLA_MTU, uint32(l.MTU))
		}
	})
}

// createLink makes the device as it is before it is set up, and tells whether it is there. l becomes what stands in for it where
// the kernel has no WireGuard.
func (a *applier) createLink(l *Link, parent int) (made bool, err error) {
	instead := false
	made, err = a.createKind(*l, parent, &instead)
	if err == nil && instead {
		*l = standIn(*l)
		return a.createKind(*l, 0, &instead)
	}
	return made, err
}

// createKind makes the device of its kind. instead is set where another should stand in for it.
func (a *applier) createKind(l Link, parent int, instead *bool) (made bool, err error) {
	k := l.kind()
	made = true
	fail := func(err error) {
		made = false
		switch {
		case lacksWireGuard(l, err):
			*instead = true
			return
		case isUnknownKind(err):
			err = k.lacking(err)
		case errors.Is(err, unix.EEXIST):
			err = a.inTheWay(l, err)
		}
		a.failed(false, l, err)
	}
	if k.create != nil {
		if err := k.create(a.Kernel, l.Name); err != nil {
			fail(err)
		}
		return made, nil
	}
	err = a.request(fail, func(w *writer) {
		beginLink(w, unix.RTM_NEWLINK, create, 0, 0, 0)
		w.text(unix.IFLA_IFNAME, l.Name)
		if l.MTU != 0 {
			w.u32(unix.IFLA_MTU, uint32(l.MTU))
		}
		if l.MAC != (MAC{}) {
			w.attr(unix.IFLA_ADDRESS, l.MAC[:])
		}
		encodeKind(w, l, parent, true)
	})
	return made, err
}

// encodeKind appends the kind of l with its properties.
func encodeKind(w *writer, l Link, parent int, all bool) {
	k := l.kind()
	info := w.nest(unix.IFLA_LINKINFO)
	w.text(unix.IFLA_INFO_KIND, k.name)
	if k.encode != nil {
		data := w.nest(unix.IFLA_INFO_DATA)
		k.encode(w, l, parent, all)
		w.unnest(data)
	}
	w.unnest(info)
}

// isUnknownKind tells whether the kernel does not know the kind of device at all, rather than one of its properties.
func isUnknownKind(err error) bool {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Errno == unix.EOPNOTSUPP && (r.Text == "" || r.Text == "Unknown device type")
	}
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) // of opening a file
}

// inTheWay names the device of somebody else that the kernel refuses l beside.
func (a *applier) inTheWay(l Link, err error) error {
	for _, d := range a.all {
		if areRivals(l, d.link(a.all)) {
			return fmt.Errorf("%w: the device %s has the same properties and is not ours; remove it or give it others", err, d.name)
		}
	}
	return err
}

// changeLink makes d as l says, in place. The kernel takes the properties of a kind in a message of their own only.
func (a *applier) changeLink(l Link, d device, parent int) error {
	fail := func(err error) { a.failed(false, l, l.explain(err)) }
	if l.kind().set != nil {
		if err := l.kind().set(a, l); err != nil {
			return err
		}
	}
	if l.kind().encode != nil && (d.link(a.all).ofKind() != l.ofKind() || d.parent != parent) {
		err := a.request(fail, func(w *writer) {
			beginLink(w, unix.RTM_NEWLINK, 0, d.index, 0, 0)
			encodeKind(w, l, parent, false)
		})
		if err != nil {
			return err
		}
	}
	return a.request(fail, func(w *writer) {
		beginLink(w, unix.RTM_NEWLINK, 0, d.index, upFlag(l), unix.IFF_UP)
		if l.MTU != 0 { // also when it has not changed by itself: a new parent may have cut it
			w.u32(unix.IFLA_MTU, uint32(l.MTU))
		}
		if l.MAC != (MAC{}) && l.MAC != d.mac {
			w.attr(unix.IFLA_ADDRESS, l.MAC[:])
		}
	})
}

func upFlag(l Link) uint32 {
	if l.Up {
		return unix.IFF_UP
	}
	return 0
}

// request sends one request; failed is told if the kernel refuses it.
func (a *applier) request(failed func(error), encode func(w *writer)) error {
	return a.socket.write(1, func(w *writer, _ int) { encode(w) }, func(_ int, err error) { failed(err) })
}

func beginLink(w *writer, kind, flags uint16, index int, value, mask uint32) {
	w.begin(kind, flags)
	w.raw(unix.AF_UNSPEC, 0, 0, 0)
	w.u32raw(uint32(index))
	w.u32raw(value)
	w.u32raw(mask)
}
