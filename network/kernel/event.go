package kernel

import (
	"strings"

	"golang.org/x/sys/unix"
)

// take adds one message of the kernel to the events.
func (w *watcher) take(h header, b []byte) {
	switch h.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if d, ok := parseDevice(b); ok {
			d.mark = w.kernel.mark
			w.takeLink(d, h.kind == unix.RTM_DELLINK)
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if a, ok := parseAddr(b); ok {
			w.takeAddr(a, h.kind == unix.RTM_DELADDR)
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		w.takeRoute(h, b)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		w.takeNeigh(b, h.kind == unix.RTM_DELNEIGH)
	case unix.RTM_NEWNETCONF:
		w.takeNetconf(b)
	}
}

// seen and gone note the last word on an object.
func seen[K comparable, V Object[K]](seen, gone *Set[K, V], v V) {
	seen.Add(v)
	delete(*gone, v.Key())
}

func (w *watcher) takeLink(d device, deleted bool) {
	old, known := w.devices[d.index]
	if d.isWireGuard() && !deleted {
		d = w.filled(d)
	}
	if deleted {
		delete(w.devices, d.index)
	} else {
		w.devices[d.index] = d
	}
	w.takeOurLink(old, d, known, deleted)

	// Which devices are there matters to others only where they have addresses or carry something of ours.
	changed := !known || deleted || old.name != d.name || old.mtu != d.mtu || (old.flags^d.flags)&(unix.IFF_UP|unix.IFF_LOWER_UP) != 0
	if !changed || d.isOurs() {
		return
	}
	if w.interest.carry[d.name] || w.interest.carry[old.name] {
		w.events.Uplink = true
		if deleted || old.name != d.name || old.up() && !d.up() {
			w.events.All = true // routes went silently, or are known under another name now
		}
	}
	if w.hasAddr(d.index) {
		w.events.Uplink = true
	}
}

// filled adds what only WireGuard itself tells of the device. Where it cannot be asked, everything is to be looked at again.
func (w *watcher) filled(d device) device {
	one := devices{d.index: d}
	if _, err := w.kernel.fillWireGuard(one); err != nil {
		w.events.All = true
	}
	return one[d.index]
}

// takeOurLink notes what happened to a device of ours, if old or d is one.
func (w *watcher) takeOurLink(old, d device, known, deleted bool) {
	if known && old.isOurs() && (deleted || old.name != d.name) {
		seen(&w.events.Gone.Links, &w.events.Seen.Links, old.link(w.devices))
		w.events.All = true
	}
	if deleted || !d.isOurs() {
		return
	}
	seen(&w.events.Seen.Links, &w.events.Gone.Links, d.link(w.devices))
	before, now := old.link(w.devices), d.link(w.devices)
	before.Up = before.Up || now.Up // to come up takes nothing away
	if known && before != now {
		w.events.All = true
	}
}

func (w *watcher) hasAddr(index int) bool {
	for key := range w.hosts {
		if key.device == index {
			return true
		}
	}
	return false
}

// host returns the key of a that may be an address of the uplink.
func (w *watcher) host(a parsedAddr) (hostAddr, bool) {
	return hostAddr{a.device, a.prefix}, a.scope == unix.RT_SCOPE_UNIVERSE && !w.devices[a.device].isOurs()
}

func (w *watcher) takeAddr(a parsedAddr, deleted bool) {
	d := w.devices[a.device]
	if d.isOurs() {
		if !a.isOurs() {
			return
		}
		addr := Addr{d.name, a.prefix}
		if deleted {
			seen(&w.events.Gone.Addrs, &w.events.Seen.Addrs, addr)
			w.events.All = true // the last one takes all routes of its family along
		} else {
			seen(&w.events.Seen.Addrs, &w.events.Gone.Addrs, addr)
		}
		return
	}
	key, ok := w.host(a)
	if !ok {
		return
	}
	// An address that is confirmed again and again, by DHCP or router advertisements, is no news.
	flags, known := w.hosts[key]
	if deleted {
		delete(w.hosts, key)
		w.events.All = w.events.All || w.interest.carry[d.name]
	} else {
		w.hosts[key] = a.flags
	}
	if deleted || !known || flags != a.flags {
		w.events.Uplink = true
	}
}

func (w *watcher) takeRoute(h header, b []byte) {
	if len(b) < sizeRoute || b[4] != unix.RT_TABLE_MAIN {
		return
	}
	if isDefault(b) {
		w.events.Uplink = true
	}
	replaced := h.kind == unix.RTM_NEWROUTE && h.flags&unix.NLM_F_REPLACE != 0
	if b[5] != w.kernel.mark.Protocol() && b[5] != unix.RTPROT_BOOT && !replaced {
		return
	}
	r, ok := parseRoute(b)
	if !ok {
		return
	}
	ours := r.isOurs(w.interest.scope, w.devices)
	switch {
	case ours && h.kind == unix.RTM_NEWROUTE:
		seen(&w.events.Seen.Routes, &w.events.Gone.Routes, r.Route)
	case ours:
		seen(&w.events.Gone.Routes, &w.events.Seen.Routes, r.Route)
	case r.protocol == w.kernel.mark.Protocol() && !r.other:
		w.events.All = true // of a device that is not known
	case (replaced || r.other) && w.interest.scope.isSubnet(r.Dst):
		// Somebody's route may have taken the place of ours, or another next hop was added to it.
		seen(&w.events.Gone.Routes, &w.events.Seen.Routes, r.Route)
	}
}

func (w *watcher) takeNeigh(b []byte, deleted bool) {
	if len(b) < sizeNeigh {
		return
	}
	d, ok := w.devices[int(int32(getU32(b[4:])))]
	if !ok || !d.isOurs() {
		return
	}
	n, ok := parseNeigh(b)
	if !ok || n.repeated {
		return
	}
	// An entry that is not permanent any more, or hands itself to somebody else, is not the one that we made.
	deleted = deleted || !n.ours
	switch entry, forward := (Neighbour{d.name, n.ip, n.mac}), (Forward{d.name, n.mac, n.ip}); {
	case n.family == unix.AF_BRIDGE && deleted:
		seen(&w.events.Gone.Forwards, &w.events.Seen.Forwards, forward)
	case n.family == unix.AF_BRIDGE:
		seen(&w.events.Seen.Forwards, &w.events.Gone.Forwards, forward)
	case deleted:
		seen(&w.events.Gone.Neighbours, &w.events.Seen.Neighbours, entry)
	default:
		seen(&w.events.Seen.Neighbours, &w.events.Gone.Neighbours, entry)
	}
}

// Numbers of netconf messages (linux/netconf.h).
const (
	netconfIfindex    = 1
	netconfForwarding = 2
	netconfAll        = -1
)

// takeNetconf notes the parameters about forwarding that somebody relies on. The kernel announces no others.
func (w *watcher) takeNetconf(b []byte) {
	if len(b) < sizeNetconf {
		return
	}
	index, value := 0, ""
	for kind, v := range attrs(b[sizeNetconf:]) {
		switch kind {
		case netconfIfindex:
			index = int(int32(getU32(v)))
		case netconfForwarding:
			value = "0"
			if getU32(v) != 0 {
				value = "1"
			}
		}
	}
	if value == "" {
		return
	}
	for _, name := range w.forwarding(b[0], index) {
		if w.interest.sysctls[name] {
			w.events.Seen.Sysctls.Add(Sysctl{name, value})
		}
	}
}

// forwarding returns the names of the parameter for a device, or for all.
func (w *watcher) forwarding(family uint8, index int) []string {
	version := "ipv4"
	if family == unix.AF_INET6 {
		version = "ipv6"
	}
	if index != netconfAll {
		return []string{strings.Join([]string{"net", version, "conf", w.devices[index].name, "forwarding"}, "/")}
	}
	names := []string{"net/" + version + "/conf/all/forwarding"}
	if family == unix.AF_INET {
		names = append(names, "net/ipv4/ip_forward")
	}
	return names
}
