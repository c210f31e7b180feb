package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// followLease lets the delegate bridge take away the address that its bridge had from an older lease of this node:
// without that it refuses every pod, because the bridge "already has an IP address different from" the new one. That
// is done only if all addresses in the way were ours; for one that was not, it returns a hint for the delegate's error.
// What the user says of forceAddress counts.
func (p plugin) followLease(c conf, env subnet.Env, d delegate) (hint string) {
	name, ok := bridgeName(d)
	if !ok {
		return ""
	}
	addrs, err := addrsOf(name)
	if err != nil {
		p.log.Printf("cannot see whether %s has an address of an older lease: %v", name, err)
		return ""
	}
	stale := inTheWay(addrs, env)
	if len(stale) == 0 {
		return ""
	}
	known := slices.DeleteFunc(append(env.Networks[:], records{c.DataDir}.subnets()...), func(n netip.Prefix) bool { return !n.IsValid() })
	for _, a := range stale {
		if !slices.ContainsFunc(known, func(n netip.Prefix) bool { return n.Contains(a.Addr()) }) {
			return fmt.Sprintf("%s has the address %s, which is in none of this node's subnets: remove it with \"ip address delete %s dev %s\", "+
				"or set \"forceAddress\": true in \"delegate\"", name, a, a, name)
		}
	}
	d.conf.set("forceAddress", true)
	return ""
}

// bridgeName returns the device that the delegate bridge gives an address to; ok is false if it is another delegate,
// gives none, or was told by the user what to do with an address in the way.
func bridgeName(d delegate) (name string, ok bool) {
	if _, given := d.conf["forceAddress"]; given || d.kind != "bridge" {
		return "", false
	}
	said := struct {
		Bridge           string `json:"bridge"`
		IsGateway        bool   `json:"isGateway"`
		IsDefaultGateway bool   `json:"isDefaultGateway"`
		VLAN             int    `json:"vlan"`
	}{Bridge: "cni0"}
	if err := json.Unmarshal(encode(d.conf), &said); err != nil {
		return "", false // the delegate will say so in its own words
	}
	if said.VLAN != 0 {
		said.Bridge = fmt.Sprintf("%s.%d", said.Bridge, said.VLAN)
	}
	return said.Bridge, said.IsGateway || said.IsDefaultGateway
}

// inTheWay returns those addresses of a bridge that keep the delegate from giving it the gateway's address of env's
// subnets: any other of IPv4, and any other of IPv6 in an overlapping subnet.
func inTheWay(addrs []netip.Prefix, env subnet.Env) []netip.Prefix {
	var stale []netip.Prefix
	for f := range subnet.Families {
		own := env.Subnets[f]
		if !own.IsValid() {
			continue
		}
		gateway := subnet.FirstHost(own)
		for _, a := range addrs {
			if subnet.FamilyOf(a.Addr()) != subnet.Family(f) || a == gateway {
				continue
			}
			if subnet.Family(f) == subnet.Inet || a.Overlaps(own) {
				stale = append(stale, a)
			}
		}
	}
	return stale
}

// addrsOf returns the addresses of a device, with the lengths of their subnets; none if there is no such device.
func addrsOf(device string) ([]netip.Prefix, error) {
	index, err := indexOf(device)
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up device %s: %w", device, err)
	}
	found, err := (&net.Interface{Index: index}).Addrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", device, err)
	}
	var addrs []netip.Prefix
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p)
		}
	}
	return addrs, nil
}

// indexOf returns the index of a device. It asks for that one alone: a node has a device for every pod.
func indexOf(device string) (int, error) {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return 0, err
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(socket)
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFINDEX, request); err != nil {
		return 0, err
	}
	return int(request.Uint32()), nil
}

// subnets returns the subnets that the records tell of, those of older leases among them.
func (r records) subnets() []netip.Prefix {
	all, err := r.all()
	if err != nil {
		return nil // then nothing is known to have been ours
	}
	var subnets []netip.Prefix
	for _, rec := range all {
		var ipam struct {
			Ranges [][]ipamRange `json:"ranges"`
		}
		if json.Unmarshal(rec.conf["ipam"], &ipam) != nil {
			continue
		}
		for _, set := range ipam.Ranges {
			for _, one := range set {
				subnets = append(subnets, one.Subnet)
			}
		}
	}
	return subnets
}

// withHint adds a hint to an error of the delegate that is about it.
func withHint(err error, hint string) error {
	var said *types.Error
	if hint == "" || !errors.As(err, &said) || !strings.Contains(said.Msg, "already has an IP address") {
		return err
	}
	return types.NewError(said.Code, said.Msg, strings.TrimPrefix(said.Details+"; "+hint, "; "))
}
