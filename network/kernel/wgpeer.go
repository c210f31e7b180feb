package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// byLink returns the peers of set by their devices, those alone that the kernel keeps peers in.
func (a *applier) byLink(set Set[WireGuardPeerKey, WireGuardPeer]) map[string][]WireGuardPeer {
	links := map[string][]WireGuardPeer{}
	for _, p := range set {
		if a.all[a.index[p.Link]].isWireGuard() {
			links[p.Link] = append(links[p.Link], p)
		}
	}
	return links
}

// putPeers makes peers or changes them, in what differs alone: whoever is in contact stays so. What another peer may send from goes
// over to the one that it is given to, without a moment in which neither may.
func (a *applier) putPeers(c Change) error {
	for _, p := range sorted(c.Put.WireGuardPeers) {
		if a.index[p.Link] == 0 {
			a.failed(false, p, errNoDevice(p.Link))
		}
	}
	links := a.byLink(c.Put.WireGuardPeers)
	if len(links) == 0 {
		return nil
	}
	return a.withWireGuard(func(c *wgctrl.Client) error {
		for _, name := range slices.Sorted(maps.Keys(links)) {
			d, err := c.Device(name)
			if err != nil {
				return fmt.Errorf("read WireGuard device %s: %w", name, err)
			}
			have := map[wgtypes.Key]*wgtypes.Peer{}
			for i := range d.Peers {
				have[d.Peers[i].PublicKey] = &d.Peers[i]
			}
			configs := make([]wgtypes.PeerConfig, 0, len(links[name]))
			for _, p := range links[name] {
				configs = append(configs, p.config(have[wgtypes.Key(p.PublicKey)]))
			}
			a.configurePeers(c, false, links[name], configs)
		}
		return nil
	})
}

// dropPeers takes peers away. A device that has gone has taken them along.
func (a *applier) dropPeers(c Change) error {
	links := a.byLink(c.Drop.WireGuardPeers)
	if len(links) == 0 {
		return nil
	}
	return a.withWireGuard(func(c *wgctrl.Client) error {
		for _, name := range slices.Sorted(maps.Keys(links)) {
			configs := make([]wgtypes.PeerConfig, 0, len(links[name]))
			for _, p := range links[name] {
				configs = append(configs, wgtypes.PeerConfig{PublicKey: wgtypes.Key(p.PublicKey), Remove: true})
			}
			a.configurePeers(c, true, links[name], configs)
		}
		return nil
	})
}

// configurePeers sends all at once, and one by one where that fails, to tell which is to blame.
func (a *applier) configurePeers(c *wgctrl.Client, drop bool, peers []WireGuardPeer, configs []wgtypes.PeerConfig) {
	link := peers[0].Link
	if c.ConfigureDevice(link, wgtypes.Config{Peers: configs}) == nil {
		return
	}
	for i := range peers {
		err := c.ConfigureDevice(link, wgtypes.Config{Peers: configs[i : i+1]})
		if err != nil && !(drop && errors.Is(err, os.ErrNotExist)) {
			a.failed(drop, peers[i], err)
		}
	}
}

// config returns what makes the peer as p says, where the kernel holds have; nil if it holds none.
func (p WireGuardPeer) config(have *wgtypes.Peer) wgtypes.PeerConfig {
	c := wgtypes.PeerConfig{PublicKey: wgtypes.Key(p.PublicKey)}
	if have == nil {
		have = &wgtypes.Peer{}
		p.Stay = false
	}
	if psk := wgtypes.Key(p.PSK); psk != have.PresharedKey {
		c.PresharedKey = &psk
	}
	if k := time.Duration(p.Keepalive) * time.Second; k != have.PersistentKeepaliveInterval {
		c.PersistentKeepaliveInterval = &k
	}
	if list := p.EndpointList(); len(list) > 0 && !p.Stay && !slices.Contains(list, endpointOf(have.Endpoint)) {
		c.Endpoint = net.UDPAddrFromAddrPort(list[0])
	}
	want := p.AllowedList()
	var more []net.IPNet
	kept := 0
	for _, w := range want {
		if slices.ContainsFunc(have.AllowedIPs, func(n net.IPNet) bool { return prefixOf(&n) == w }) {
			kept++
		} else {
			more = append(more, ipNet(w))
		}
	}
	c.AllowedIPs = more
	if kept < len(have.AllowedIPs) { // the kernel can only take all away at once
		c.ReplaceAllowedIPs, c.AllowedIPs = true, nil
		for _, w := range want {
			c.AllowedIPs = append(c.AllowedIPs, ipNet(w))
		}
	}
	return c
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
