// Package tundevice opens TUN devices that the kernel package made, so that a process can move their packets. It knows how one is
// opened, and refuses to know what is in the packets.
package tundevice

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// Open opens the device name of the calling thread's network namespace, which is there already and stays when it is closed. Packets come and
// go in batches, and larger than the device's MTU where the kernel has them so: package tun cuts and joins them.
func Open(name string) (tun.Device, error) {
	fd, err := attach(name)
	if err != nil {
		return nil, fmt.Errorf("open the TUN device %s: %w", name, err)
	}
	device, _, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up the TUN device %s: %w", name, err)
	}
	return device, nil
}

// Is tells whether the device name of the calling thread's network namespace is one that Open could open.
func Is(name string) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	return err == nil && unix.ByteSliceToString(info.Driver[:]) == "tun"
}

// iffPersist is the flag of a device that stays without a process, as TUNGETIFF tells it.
const iffPersist = 0x0800

// attach opens a persistent TUN device so that packets are exchanged with it.
func attach(name string) (fd int, err error) {
	if _, err := net.InterfaceByName(name); err != nil { // the kernel would make one
		return -1, errors.New("there is no such device")
	}
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		err = fmt.Errorf("another process holds it, such as a flanneld that still runs: %w", err)
	case err == nil:
		if err = unix.IoctlIfreq(fd, unix.TUNGETIFF, req); err == nil && req.Uint16()&iffPersist == 0 {
			err = errors.New("it has gone")
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
