package kernel

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// standIn returns the TUN device that is made in the place of l on a kernel that has no WireGuard: an engine then does what the
// kernel would do.
func standIn(l Link) Link { return Link{Name: l.Name, MTU: l.MTU, Up: l.Up, TUN: true} }

// standsIn tells whether d is such a device for l.
func standsIn(d device, l Link) bool {
	return d.kind == "tun" && !d.odd && l.WireGuard != (WireGuard{})
}

// KnowsWireGuard tells whether the kernel has WireGuard at this moment, without having it looked for.
func KnowsWireGuard() bool {
	_, err := os.Stat("/sys/module/wireguard")
	return err == nil
}

// lacksWireGuard tells whether the kernel refused to make l because it has no WireGuard, also after it looked for the module.
func lacksWireGuard(l Link, err error) bool {
	return l.WireGuard != (WireGuard{}) && !errors.Is(err, unix.EPERM) && isUnknownKind(err)
}
