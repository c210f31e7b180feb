package kernel

import (
	"context"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// skipStats asks for links without their counters (RTEXT_FILTER_SKIP_STATS), which are the larger part of the message.
const skipStats = 1 << 3

// device is a network device as the kernel describes it.
type device struct {
	index  int
	name   string
	kind   string // "vxlan", "veth", ...; "" for hardware and loopback
	flags  uint32
	mtu    int
	mac    MAC
	parent int  // the device that outer packets leave by
	as     Link // the properties of its kind
	odd    bool // it has something that Link cannot say, so that only a new one can be as wanted
	mark   Mark // of the network whose devices are ours
}

// isOurs tells whether Weft would give a device this name and kind, in the network that is ours.
func (d device) isOurs() bool { return d.mark.Owns(d.name, d.kind) }

func (d device) up() bool { return d.flags&unix.IFF_UP != 0 }

// link returns the device as a Link, without the properties of its kind where it is odd. The parent's name is looked up in all.
func (d device) link(all devices) Link {
	l := Link{Name: d.name, MAC: d.mac, MTU: d.mtu, Up: d.up()}
	if d.odd {
		return l
	}
	l.VXLAN, l.Tunnel, l.WireGuard, l.TUN, l.XFRM = d.as.VXLAN, d.as.Tunnel, d.as.WireGuard, d.as.TUN, d.as.XFRM
	switch parent := all[d.parent].name; d.kind {
	case "vxlan":
		l.VXLAN.Parent = parent
	case "ipip", "ip6tnl":
		l.Tunnel.Parent = parent
	}
	return l
}

// devices are the devices of the namespace by their index.
type devices map[int]device

// index returns the index of the named device, 0 if there is none.
func (ds devices) index(name string) int {
	for i, d := range ds {
		if d.name == name {
			return i
		}
	}
	return 0
}

// ours returns the indexes of our devices.
func (ds devices) ours() []int {
	var list []int
	for i, d := range ds {
		if d.isOurs() {
			list = append(list, i)
		}
	}
	return list
}

func (s *socket) devices(ctx context.Context) (devices, error) {
	var all devices
	err := s.list(ctx, listing{
		what: "devices",
		request: func(w *writer) {
			w.begin(unix.RTM_GETLINK, 0)
			w.raw(make([]byte, sizeLink)...)
			w.u32(unix.IFLA_EXT_MASK, skipStats)
		},
		restart: func() { all = devices{} },
		each: func(kind uint16, b []byte) {
			if d, ok := parseDevice(b); ok && kind == unix.RTM_NEWLINK {
				d.mark = s.mark
				all[d.index] = d
			}
		},
	})
	return all, err
}

// device asks for one device by its name. The device has index 0 if there is none.
func (s *socket) device(name string) (d device, err error) {
	err = s.ask(func(w *writer) {
		w.begin(unix.RTM_GETLINK, 0)
		w.raw(make([]byte, sizeLink)...)
		w.text(unix.IFLA_IFNAME, name)
		w.u32(unix.IFLA_EXT_MASK, skipStats)
	}, func(b []byte) { d, _ = parseDevice(b) })
	d.mark = s.mark
	if err != nil && !isGone(err) {
		return d, fmt.Errorf("look for device %s: %w", name, err)
	}
	return d, nil
}

// parseDevice reads the message of a link. It reports false for messages that describe only a part of a device: those
// of bridges about their ports, and of wireless drivers.
func parseDevice(b []byte) (d device, ok bool) {
	if len(b) < sizeLink || b[0] != unix.AF_UNSPEC {
		return d, false
	}
	d.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	d.flags = binary.NativeEndian.Uint32(b[8:])
	for kind, v := range attrs(b[sizeLink:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			d.name = getText(v)
		case unix.IFLA_MTU:
			d.mtu = int(getU32(v))
			ok = true
		case unix.IFLA_ADDRESS:
			d.mac = getMAC(v)
		case unix.IFLA_LINKINFO:
			d.parseKind(v)
		}
	}
	return d, ok
}

func (d *device) parseKind(b []byte) {
	var data []byte
	for kind, v := range attrs(b) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			d.kind = getText(v)
		case unix.IFLA_INFO_DATA:
			data = v
		}
	}
	if k := kindNamed(d.kind); k != nil && k.parse != nil {
		k.parse(d, data)
	}
}
