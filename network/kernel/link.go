package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// noLinkLocal is the mode in which the kernel makes no link-local address (IN6_ADDR_GEN_MODE_NONE).
const noLinkLocal = 1

// mustRemake tells whether only a new device can be as l says: the kernel fixes these properties when it makes one.
func mustRemake(d device, l Link) bool {
	return d.vxlan.VNI != l.VXLAN.VNI || d.vxlan.Port != l.VXLAN.Port || d.vxlan.GBP != l.VXLAN.GBP ||
		d.vxlan.Local.IsValid() && d.vxlan.Local.Is4() != l.VXLAN.Local.Is4()
}

// loses tells whether d forgets entries when it becomes l.
func (a *applier) loses(d device, l Link) bool {
	return mustRemake(d, l) || l.MAC != MAC{} && l.MAC != d.mac || d.up() && !l.Up
}

// dropRivals takes away the devices that new ones cannot be made beside: the kernel allows one for a VNI and port.
func (a *applier) dropRivals(c Change) error {
	return a.dropLinks(c, func(old Link) bool {
		for _, l := range c.Put.Links {
			if l.VXLAN.VNI == old.VXLAN.VNI && l.VXLAN.Port == old.VXLAN.Port {
				return true
			}
		}
		return false
	})
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
	parent := a.index[l.VXLAN.Parent]
	if parent == 0 && l.VXLAN.Parent != "" {
		a.failed(false, l, errNoDevice(l.VXLAN.Parent))
		return nil
	}
	d, exists := a.all[a.index[l.Name]]
	switch {
	case exists && d.kind != "vxlan":
		a.failed(false, l, fmt.Errorf("%w: a device of this name is there already, and it is %s rather than vxlan; "+
			"it is not ours, so remove or rename it", unix.EEXIST, kindWords(d)))
		return nil
	case exists && !mustRemake(d, l):
		return a.changeLink(l, d, parent)
	case exists:
		if err := a.deleteLink(l, d.index); err != nil {
			return err
		}
	}
	return a.makeLink(l, parent)
}

func kindWords(d device) string {
	if d.kind == "" {
		return "a plain device"
	}
	return "of kind " + d.kind
}

// makeLink makes the device. It is set up last, with IPv6 told before not to make up addresses.
func (a *applier) makeLink(l Link, parent int) error {
	failed := false
	err := a.request(func(err error) {
		failed = true
		if isUnknownKind(err) {
			err = fmt.Errorf("%w: the kernel has no vxlan; load the module with modprobe vxlan, "+
				"or install the package that holds it (on Debian and Ubuntu linux-modules-extra, on RHEL kernel-modules)", err)
		}
		a.failed(false, l, err)
	}, func(w *writer) {
		beginLink(w, unix.RTM_NEWLINK, create, 0, 0, 0)
		w.text(unix.IFLA_IFNAME, l.Name)
		if l.MTU != 0 {
			w.u32(unix.IFLA_MTU, uint32(l.MTU))
		}
		if l.MAC != (MAC{}) {
			w.attr(unix.IFLA_ADDRESS, l.MAC[:])
		}
		encodeVXLAN(w, l.VXLAN, parent, true)
	})
	if err != nil || failed {
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
	if err != nil || !l.Up {
		return err
	}
	return a.request(func(err error) { a.failed(false, l, err) }, func(w *writer) {
		beginLink(w, unix.RTM_NEWLINK, 0, 0, unix.IFF_UP, unix.IFF_UP)
		w.text(unix.IFLA_IFNAME, l.Name)
	})
}

// isUnknownKind tells whether the kernel does not know vxlan at all, rather than one of its properties.
func isUnknownKind(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Errno == unix.EOPNOTSUPP && (r.Text == "" || r.Text == "Unknown device type")
}

// changeLink makes d as l says, in place. The kernel takes vxlan's own properties in a message of their own only.
func (a *applier) changeLink(l Link, d device, parent int) error {
	fail := func(err error) { a.failed(false, l, err) }
	have, want := d.vxlan, l.VXLAN
	want.Parent = ""
	if have != want || d.parent != parent {
		err := a.request(fail, func(w *writer) {
			beginLink(w, unix.RTM_NEWLINK, 0, d.index, 0, 0)
			encodeVXLAN(w, l.VXLAN, parent, false)
		})
		if err != nil {
			return err
		}
	}
	var flags uint32
	if l.Up {
		flags = unix.IFF_UP
	}
	return a.request(fail, func(w *writer) {
		beginLink(w, unix.RTM_NEWLINK, 0, d.index, flags, unix.IFF_UP)
		if l.MTU != 0 { // also when it has not changed by itself: a new parent may have cut it
			w.u32(unix.IFLA_MTU, uint32(l.MTU))
		}
		if l.MAC != (MAC{}) && l.MAC != d.mac {
			w.attr(unix.IFLA_ADDRESS, l.MAC[:])
		}
	})
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

// encodeVXLAN appends the properties: all for a new device, else those that can be changed.
func encodeVXLAN(w *writer, v VXLAN, parent int, all bool) {
	info := w.nest(unix.IFLA_LINKINFO)
	w.text(unix.IFLA_INFO_KIND, "vxlan")
	data := w.nest(unix.IFLA_INFO_DATA)
	w.u32(unix.IFLA_VXLAN_ID, v.VNI)
	switch {
	case v.Local.Is4():
		w.addr(unix.IFLA_VXLAN_LOCAL, v.Local)
	case v.Local.IsValid():
		w.addr(unix.IFLA_VXLAN_LOCAL6, v.Local)
	}
	if parent != 0 {
		w.u32(unix.IFLA_VXLAN_LINK, uint32(parent))
	}
	w.u8(unix.IFLA_VXLAN_LEARNING, boolByte(v.Learning))
	if all {
		w.port(unix.IFLA_VXLAN_PORT, v.Port)
		if v.GBP {
			w.attr(unix.IFLA_VXLAN_GBP, nil)
		}
	}
	w.unnest(data)
	w.unnest(info)
}

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
