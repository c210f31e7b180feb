package kernel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

func parseVXLAN(d *device, data []byte) {
	for kind, v := range attrs(data) {
		switch kind {
		case unix.IFLA_VXLAN_ID:
			d.as.VXLAN.VNI = getU32(v)
		case unix.IFLA_VXLAN_PORT:
			if len(v) == 2 {
				d.as.VXLAN.Port = binary.BigEndian.Uint16(v)
			}
		case unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_LOCAL6:
			d.as.VXLAN.Local = getAddr(v)
		case unix.IFLA_VXLAN_LINK:
			d.parent = int(getU32(v))
		case unix.IFLA_VXLAN_LEARNING:
			d.as.VXLAN.Learning = len(v) > 0 && v[0] != 0
		case unix.IFLA_VXLAN_GBP:
			d.as.VXLAN.GBP = true
		}
	}
}

// encodeVXLAN appends the properties: all for a new device, else those that can be changed.
func encodeVXLAN(w *writer, l Link, parent int, all bool) {
	v := l.VXLAN
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
}

// mustRemakeVXLAN: the kernel fixes these properties when it makes a device.
func mustRemakeVXLAN(have, want Link) bool {
	h, w := have.VXLAN, want.VXLAN
	return h.VNI != w.VNI || h.Port != w.Port || h.GBP != w.GBP || h.Local.IsValid() && h.Local.Is4() != w.Local.Is4()
}

// areVXLANRivals: the kernel allows one device for a VNI and port.
func areVXLANRivals(x, y Link) bool {
	return x.VXLAN.VNI == y.VXLAN.VNI && x.VXLAN.Port == y.VXLAN.Port
}

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
