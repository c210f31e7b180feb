package kernel

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tunFile is where the kernel makes TUN devices.
const tunFile = "/dev/net/tun"

// createTUN makes a TUN device that stays when nobody has it open. Whoever moves its packets opens it with the same
// flags, IFF_TUN and IFF_NO_PI.
func (k *Kernel) createTUN(name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("name %q: %w", name, err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_TUN_EXCL)
	return k.Inside(func() error { // the namespace is that of the thread that opens the file
		f, err := os.OpenFile(tunFile, os.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, request); err != nil {
			return fmt.Errorf("make it by %s: %w", tunFile, err)
		}
		if err := unix.IoctlSetInt(int(f.Fd()), unix.TUNSETPERSIST, 1); err != nil {
			return fmt.Errorf("make it stay: %w", err)
		}
		return nil
	})
}

// parseTUN reads whether the device is as createTUN makes it; one of Ethernet frames, or that goes with whoever has it
// open, is odd.
func parseTUN(d *device, data []byte) {
	var mode, persist uint8
	for kind, v := range attrs(data) {
		switch {
		case len(v) == 0:
		case kind == unix.IFLA_TUN_TYPE:
			mode = v[0]
		case kind == unix.IFLA_TUN_PERSIST:
			persist = v[0]
		}
	}
	d.as.TUN = true
	d.odd = mode != unix.IFF_TUN || persist == 0
}
