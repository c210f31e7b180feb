package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kind is what there is to know of one kind of device that Weft makes. Functions that a kind has no need of are nil.
type kind struct {
	name   string            // as the kernel calls it (IFLA_INFO_KIND)
	isName func(string) bool // tells the names that Weft gives to devices of this kind
	module string            // the kernel module that holds it
	holder string            // where the module is, on a host that lacks it
	fdb    bool              // it has forwarding entries

	wanted func(l Link) bool                             // tells whether l is to be of this kind
	words  func(l Link) string                           // the properties as "ip link add type" takes them
	parse  func(d *device, data []byte)                  // reads the properties
	encode func(w *writer, l Link, parent int, all bool) // appends them: all for a new device, else those that can be changed
	remake func(have, want Link) bool                    // tells whether they differ in what the kernel cannot change
	rivals func(x, y Link) bool                          // tells whether the kernel refuses two such devices beside each other
	create func(k *Kernel, name string) error            // makes the bare device where rtnetlink cannot
	set    func(a *applier, l Link) error                // sets what rtnetlink cannot, before the device is set up and when it is changed
}

const (
	moduleHolder = "on Debian and Ubuntu linux-modules-extra, on RHEL kernel-modules"
	extraHolder  = "on Debian and Ubuntu linux-modules-extra, on RHEL kernel-modules-extra"
)

// kinds are all kinds of device. Those that a module makes by itself when it is loaded (tunl0, ip6tnl0) have names
// that are not ours.
var kinds = [...]kind{{
	name: "vxlan", isName: isVXLANName, module: "vxlan", holder: moduleHolder, fdb: true,
	wanted: func(l Link) bool { return l.VXLAN != VXLAN{} },
	words:  func(l Link) string { return l.VXLAN.String() },
	parse:  parseVXLAN, encode: encodeVXLAN, remake: mustRemakeVXLAN, rivals: areVXLANRivals,
}, {
	name: "ipip", isName: oneOf("flannel.ipip"), module: "ipip", holder: extraHolder,
	wanted: func(l Link) bool { return l.Tunnel.Local.Is4() },
	words:  func(l Link) string { return l.Tunnel.String() },
	parse:  parseIPIP, encode: encodeIPIP, rivals: areTunnelRivals,
}, {
	name: "ip6tnl", isName: oneOf("flannel-v6.ipip"), module: "ip6_tunnel", holder: extraHolder,
	wanted: func(l Link) bool { return l.Tunnel.Local.Is6() },
	words:  func(l Link) string { return l.Tunnel.String() },
	parse:  parseIP6IP6, encode: encodeIP6IP6, rivals: areTunnelRivals,
}, {
	name: "wireguard", isName: isWireGuardName, module: "wireguard",
	holder: "on Debian and Ubuntu linux-modules, on RHEL kernel-modules; kernels have it since 5.6",
	wanted: func(l Link) bool { return l.WireGuard != WireGuard{} },
	words:  func(l Link) string { return l.WireGuard.String() },
	set:    (*applier).configureWireGuard,
}, {
	name: "tun", isName: isTUNName, module: "tun", holder: moduleHolder,
	wanted: func(l Link) bool { return l.TUN },
	words:  func(Link) string { return "tun mode tun" },
	parse:  parseTUN, create: (*Kernel).createTUN,
}, {
	name: "xfrm", isName: isXFRMName, module: "xfrm_interface", holder: extraHolder,
	wanted: func(l Link) bool { return l.XFRM != XFRM{} },
	words:  func(l Link) string { return l.XFRM.String() },
	parse:  parseXFRM, encode: encodeXFRM, remake: mustRemakeXFRM, rivals: areXFRMRivals,
}}

// kindNamed returns the kind that the kernel calls so, nil if Weft makes no such devices.
func kindNamed(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// kind returns the kind that l is to be of, nil if it does not say.
func (l Link) kind() *kind {
	for i := range kinds {
		if kinds[i].wanted(l) {
			return &kinds[i]
		}
	}
	return nil
}

// parent returns the name of the device that outer packets leave by, "" where that is left to routes.
func (l Link) parent() string {
	if l.VXLAN.Parent != "" {
		return l.VXLAN.Parent
	}
	return l.Tunnel.Parent
}

// ofKind returns what l says of its kind, without its parent, whose name the kernel does not tell.
func (l Link) ofKind() Link {
	l.VXLAN.Parent, l.Tunnel.Parent = "", ""
	return Link{VXLAN: l.VXLAN, Tunnel: l.Tunnel, WireGuard: l.WireGuard, TUN: l.TUN, XFRM: l.XFRM}
}

// oneOf returns a function that tells these names.
func oneOf(names ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// isVXLANName tells the names flannel.<VNI> and flannel-v6.<VNI>, with a letter from b on at the end where the same VNI is in use at
// two ports.
func isVXLANName(name string) bool {
	rest, ok := strings.CutPrefix(name, "flannel.")
	if !ok {
		rest, ok = strings.CutPrefix(name, "flannel-v6.")
	}
	if last := len(rest) - 1; last > 0 && rest[last] >= 'b' && rest[last] <= 'z' {
		rest = rest[:last]
	}
	return ok && isNumber(rest)
}

// isWireGuardName tells the names flannel-wg and flannel-wg-v6, with a letter from b on at the end where two are there for a while.
func isWireGuardName(name string) bool {
	rest, ok := strings.CutPrefix(name, "flannel-wg")
	rest = strings.TrimPrefix(rest, "-v6")
	return ok && (rest == "" || len(rest) == 1 && rest[0] >= 'b' && rest[0] <= 'z')
}

// isTUNName tells the names flannel0 and flannel-v6.0, with a letter from b on at the end where two are there for a while, and
// those of WireGuard devices, which TUN devices stand in for.
func isTUNName(name string) bool {
	rest, ok := strings.CutPrefix(name, "flannel0")
	if !ok {
		rest, ok = strings.CutPrefix(name, "flannel-v6.0")
	}
	return ok && (rest == "" || len(rest) == 1 && rest[0] >= 'b' && rest[0] <= 'z') || isWireGuardName(name)
}

// isXFRMName tells the names flannel.esp and flannel-v6.esp, with a letter from b on at the end where two are there for a while.
func isXFRMName(name string) bool {
	rest, ok := strings.CutPrefix(name, "flannel.esp")
	if !ok {
		rest, ok = strings.CutPrefix(name, "flannel-v6.esp")
	}
	return ok && (rest == "" || len(rest) == 1 && rest[0] >= 'b' && rest[0] <= 'z')
}

// isNumber tells whether s is nothing but digits, and not too many of them for a VNI or port.
func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 24)
	return err == nil
}

// ErrNoKind is in the error of a device that the kernel cannot make because it has no devices of that kind at all.
var ErrNoKind = errors.New("the kernel has no")

// lacking explains a refusal of a kernel that does not know the kind.
func (k *kind) lacking(err error) error {
	return fmt.Errorf("%w: %w %s; load the module with modprobe %s, or install the package that holds it (%s)",
		err, ErrNoKind, k.name, k.module, k.holder)
}
