package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// freshFor is how long keys that two peers have agreed on are in use: REJECT_AFTER_TIME of the protocol is 180 s, and
// the attempts to agree on new ones may take some more.
const freshFor = 200 * time.Second

// withWireGuard calls f with a client for the WireGuard devices of the namespace. Only devices that the kernel has by
// that kind may be asked for: the client would look for others in the file system, which other namespaces may share.
func (k *Kernel) withWireGuard(f func(*wgctrl.Client) error) error {
	return k.Inside(func() error {
		c, err := wgctrl.New()
		if err != nil {
			return fmt.Errorf("open the WireGuard socket: %w", err)
		}
		defer c.Close()
		return f(c)
	})
}

// isWireGuard tells whether the device is one of ours that the kernel keeps peers in.
func (d device) isWireGuard() bool { return d.kind == "wireguard" && d.isOurs() }

// fillWireGuard reads what rtnetlink does not tell of our WireGuard devices in all, and returns their peers. A device that is
// gone by now is left as it is.
func (k *Kernel) fillWireGuard(all devices) (Set[WireGuardPeerKey, WireGuardPeer], error) {
	var peers Set[WireGuardPeerKey, WireGuardPeer]
	err := k.eachWireGuard(all, func(index int, d *wgtypes.Device) {
		filled := all[index]
		filled.as.WireGuard = WireGuard{PrivateKey: Key(d.PrivateKey), Port: uint16(d.ListenPort), Mark: uint32(d.FirewallMark)}
		all[index] = filled
		peers.grow(len(d.Peers))
		now := time.Now()
		for i := range d.Peers {
			peers.Add(listedPeer(filled.name, &d.Peers[i], now))
		}
	})
	return peers, err
}

// eachWireGuard calls f with each of our WireGuard devices in all.
func (k *Kernel) eachWireGuard(all devices, f func(index int, d *wgtypes.Device)) error {
	var ours []int
	for _, index := range all.ours() {
		if all[index].isWireGuard() {
			ours = append(ours, index)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	return k.withWireGuard(func(c *wgctrl.Client) error {
		for _, index := range ours {
			d, err := c.Device(all[index].name)
			switch {
			case errors.Is(err, os.ErrNotExist):
			case err != nil:
				return fmt.Errorf("read WireGuard device %s: %w", all[index].name, err)
			default:
				f(index, d)
			}
		}
		return nil
	})
}

// listedPeer returns a peer as the kernel tells it.
func listedPeer(link string, p *wgtypes.Peer, now time.Time) WireGuardPeer {
	allowed := make([]netip.Prefix, 0, len(p.AllowedIPs))
	for i := range p.AllowedIPs {
		allowed = append(allowed, prefixOf(&p.AllowedIPs[i]))
	}
	peer := WireGuardPeer{
		Link: link, PublicKey: PublicKey(p.PublicKey), PSK: Key(p.PresharedKey), Keepalive: uint16(p.PersistentKeepaliveInterval / time.Second),
		Allowed: AllowedText(allowed...), Listed: true, Fresh: now.Sub(p.LastHandshakeTime) < freshFor,
	}
	if e := endpointOf(p.Endpoint); e.IsValid() {
		peer.Endpoints = EndpointText(e)
	}
	return peer
}

func prefixOf(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits)
}

func endpointOf(u *net.UDPAddr) netip.AddrPort {
	if u == nil {
		return netip.AddrPort{}
	}
	e := u.AddrPort()
	return netip.AddrPortFrom(e.Addr().Unmap(), e.Port())
}

// WireGuardTraffic lists what our WireGuard devices count, by device and public key.
func (k *Kernel) WireGuardTraffic(ctx context.Context) ([]WireGuardTraffic, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := k.socket.devices(ctx)
	if err != nil {
		return nil, err
	}
	var list []WireGuardTraffic
	err = k.eachWireGuard(all, func(index int, d *wgtypes.Device) {
		for _, p := range d.Peers {
			t := WireGuardTraffic{
				Link: all[index].name, PublicKey: PublicKey(p.PublicKey), Endpoint: endpointOf(p.Endpoint),
				Received: uint64(p.ReceiveBytes), Sent: uint64(p.TransmitBytes),
			}
			if !p.LastHandshakeTime.IsZero() {
				t.Handshake = p.LastHandshakeTime.Unix()
			}
			list = append(list, t)
		}
	})
	slices.SortFunc(list, func(x, y WireGuardTraffic) int {
		return cmp.Or(cmp.Compare(x.Link, y.Link), slices.Compare(x.PublicKey[:], y.PublicKey[:]))
	})
	return list, err
}

// configureWireGuard gives the WireGuard device l its key, port and mark where they differ. Another private key ends what was agreed
// on with all peers, so that it is not set again and again.
func (a *applier) configureWireGuard(l Link) error {
	return a.withWireGuard(func(c *wgctrl.Client) error {
		d, err := c.Device(l.Name)
		if err != nil {
			a.failed(false, l, fmt.Errorf("read WireGuard device: %w", err))
			return nil
		}
		var config wgtypes.Config
		differs := false
		if key := wgtypes.Key(l.WireGuard.PrivateKey); d.PrivateKey != key {
			config.PrivateKey, differs = &key, true
		}
		if port := int(l.WireGuard.Port); d.ListenPort != port {
			config.ListenPort, differs = &port, true
		}
		if mark := int(l.WireGuard.Mark); d.FirewallMark != mark {
			config.FirewallMark, differs = &mark, true
		}
		if !differs {
			return nil
		}
		if err := c.ConfigureDevice(l.Name, config); err != nil {
			a.failed(false, l, l.explain(err))
		}
		return nil
	})
}

// explain says what would help against an error from setting up a device.
func (l Link) explain(err error) error {
	port := cmp.Or(l.WireGuard.Port, l.VXLAN.Port)
	if !errors.Is(err, unix.EADDRINUSE) || port == 0 {
		return err
	}
	return fmt.Errorf("%w: another program on this host has UDP port %d, and ss -lunp shows which; stop it, or give the "+
		"backend another port", err, port)
}

// WireGuardKey returns the private key of our WireGuard devices, the zero Key where there is none.
func (k *Kernel) WireGuardKey(ctx context.Context) (key Key, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := k.socket.devices(ctx)
	if err != nil {
		return Key{}, err
	}
	err = k.eachWireGuard(all, func(_ int, d *wgtypes.Device) {
		if key == (Key{}) {
			key = Key(d.PrivateKey)
		}
	})
	return key, err
}

// Redirect gives a peer of one of our WireGuard devices another endpoint. A peer or device that is not there is left so.
func (k *Kernel) Redirect(ctx context.Context, peer WireGuardPeerKey, to netip.AddrPort) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, err := k.socket.device(peer.Link)
	if err != nil || !d.isWireGuard() {
		return err
	}
	return k.withWireGuard(func(c *wgctrl.Client) error {
		err := c.ConfigureDevice(peer.Link, wgtypes.Config{Peers: []wgtypes.PeerConfig{
			{PublicKey: wgtypes.Key(peer.PublicKey), UpdateOnly: true, Endpoint: net.UDPAddrFromAddrPort(to)},
		}})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("look for peer %s of %s at %s: %w", peer.PublicKey, peer.Link, to, err)
		}
		return nil
	})
}
