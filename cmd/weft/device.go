package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// addrsOf returns the index of a device and its addresses, with the lengths of their subnets; none if there is no such
// device.
func addrsOf(device string) (int, []netip.Prefix, error) {
	index, err := indexOf(device)
	if errors.Is(err, unix.ENODEV) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("look up device %s: %w", device, err)
	}
	found, err := (&net.Interface{Index: index}).Addrs()
	if err != nil {
		return 0, nil, fmt.Errorf("list addresses of %s: %w", device, err)
	}
	var addrs []netip.Prefix
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p)
		}
	}
	return index, addrs, nil
}

// deleteAddr takes an IPv6 address from a device. It is no error if it has gone meanwhile: pods are attached at the
// same time.
func deleteAddr(index int, a netip.Prefix) error {
	request := struct { // struct in6_ifreq of linux/ipv6.h
		addr   [16]byte
		length uint32
		index  int32
	}{a.Addr().As16(), uint32(a.Bits()), int32(index)}
	err := ioctl(unix.AF_INET6, unix.SIOCDIFADDR, unsafe.Pointer(&request))
	if err == unix.EADDRNOTAVAIL {
		return nil
	}
	return err
}

// indexOf returns the index of a device. It asks for that one alone: a node has a device for every pod.
func indexOf(device string) (int, error) {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return 0, err
	}
	err = ioctl(unix.AF_UNIX, unix.SIOCGIFINDEX, unsafe.Pointer(request))
	return int(request.Uint32()), err
}

// hardware is struct ifreq of linux/if.h with a struct sockaddr of a MAC address in it.
type hardware struct {
	name   [unix.IFNAMSIZ]byte
	family uint16 // ARPHRD_ETHER of linux/if_arp.h
	mac    [6]byte
	_      [16]byte
}

// macOf returns the MAC address of a device.
func macOf(device string) ([6]byte, error) {
	request, err := hardwareOf(device)
	if err != nil {
		return [6]byte{}, err
	}
	err = ioctl(unix.AF_UNIX, unix.SIOCGIFHWADDR, unsafe.Pointer(&request))
	return request.mac, err
}

// setRandomMAC gives a device a MAC address of its own, which the kernel does not change any more.
func setRandomMAC(device string) error {
	request, err := hardwareOf(device)
	if err != nil {
		return err
	}
	request.family = unix.ARPHRD_ETHER
	if _, err := rand.Read(request.mac[:]); err != nil {
		return err
	}
	request.mac[0] = request.mac[0]&^1 | 2 // unicast, locally administered
	return ioctl(unix.AF_UNIX, unix.SIOCSIFHWADDR, unsafe.Pointer(&request))
}

// hardwareOf is the request about a device's MAC address.
func hardwareOf(device string) (hardware, error) {
	var request hardware
	if len(device) >= len(request.name) {
		return hardware{}, unix.EINVAL
	}
	copy(request.name[:], device)
	return request, nil
}

// ioctl makes a request of the kernel's networking through a socket of family.
func ioctl(family int, request uintptr, argument unsafe.Pointer) error {
	socket, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	if _, _, failed := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), request, uintptr(argument)); failed != 0 {
		return failed
	}
	return nil
}
