package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// followLease makes way for the address that the delegate is to give to the bridge of that name, where the bridge still has
// those of an older lease of this node. The delegate refuses every pod because of one of IPv4, unless it is told to
// replace it; one of IPv6 it leaves where it is, and with it a route to a subnet that another node may hold by now.
//
// Nothing is taken away that was not ours: for such an address, followLease returns a hint for the delegate's error.
// What the user says of forceAddress counts.
func (p plugin) followLease(c conf, env subnet.Env, d delegate, name string) (hint string) {
	if _, decided := d.conf["forceAddress"]; decided {
		return ""
	}
	index, addrs, err := addrsOf(name)
	if err != nil {
		p.log.Printf("cannot see whether %s has an address of an older lease: %v", name, err)
		return ""
	}
	stale, left := inTheWay(addrs, env), leftBehind(addrs, env)
	if len(stale)+len(left) == 0 {
		return ""
	}
	known := append(env.All(), records{c.DataDir}.subnets()...)
	ours := func(a netip.Prefix) bool {
		return slices.ContainsFunc(known, func(n netip.Prefix) bool { return n.IsValid() && n.Contains(a.Addr()) })
	}
	for _, a := range left {
		if !ours(a) {
			continue
		}
		if err := deleteAddr(index, a); err != nil {
			p.log.Printf("cannot take %s, of an older lease, from %s: %v", a, name, err)
		}
	}
	for _, a := range stale {
		if !ours(a) {
			return fmt.Sprintf("%s has the address %s, which is in none of this node's subnets: remove it with \"ip address delete %s dev %s\", "+
				"or set \"forceAddress\": true in \"delegate\"", name, a, a, name)
		}
	}
	if len(stale) > 0 {
		d.conf.set("forceAddress", true)
	}
	return ""
}

// bridgeName returns the device that the delegate bridge gives an address to; ok is false if it is another delegate, or
// gives none.
func bridgeName(d delegate) (name string, ok bool) {
	if d.kind != "bridge" {
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

// mendMAC gives the bridge of that name a MAC address where it has none. A bridge has that of one of its ports until it was given one
// of its own (br_stp_recalculate_bridge_id of Linux), and all zeros when the last port has gone; the delegate gives it one
// only after the first pod has an address. So when attaching the first pod failed before that, because a pod's IPv6
// address was not ready in time, say, the delegate refuses each later pod: "could not set bridge's mac: invalid argument".
func (p plugin) mendMAC(name string) {
	mac, err := macOf(name)
	if errors.Is(err, unix.ENODEV) || err == nil && mac != [6]byte{} {
		return
	}
	if err == nil {
		err = setRandomMAC(name)
	}
	if err != nil {
		p.log.Printf("cannot see to it that %s has a MAC address: %v", name, err)
	}
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

// leftBehind returns those addresses of a bridge that the delegate would leave beside the one of env's IPv6 subnet.
func leftBehind(addrs []netip.Prefix, env subnet.Env) []netip.Prefix {
	own := env.Subnets[subnet.Inet6]
	if !own.IsValid() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Prefix) bool {
		return a.Addr().Is4() || a.Addr().IsLinkLocalUnicast() || a.Overlaps(own)
	})
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
