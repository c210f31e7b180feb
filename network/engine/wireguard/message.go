package wireguard

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/weft-network/weft/network/kernel"
)

// version is that of what the two sides say to each other. A process that speaks another is replaced.
const version = 1

// What a request asks for. How to end a process is the same in all versions.
const (
	opList = "list"
	opPut  = "put"
	opDrop = "drop"
	opEnd  = "end"

	opRedirect = "redirect"
)

type request struct {
	Op      string
	Devices []deviceConfig `json:",omitempty"`
	Peers   []peer         `json:",omitempty"`
}

type response struct {
	Version int
	Devices []deviceConfig `json:",omitempty"` // all that are served now
	Peers   []peer         `json:",omitempty"`
	Errors  []string       `json:",omitempty"`
}

// key is a key as both sides write it, in hexadecimal digits. It shows itself, so that it stays between the two.
type key [32]byte

// MarshalText returns the digits.
func (k key) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText reads the digits.
func (k *key) UnmarshalText(text []byte) error {
	b, err := hex.AppendDecode(nil, text)
	if err != nil || len(b) != len(k) {
		return fmt.Errorf("it is not a key of %d bytes", len(k)) // and it may be a secret
	}
	copy(k[:], b)
	return nil
}

// deviceConfig is a WireGuard device.
type deviceConfig struct {
	Name       string
	PrivateKey key
	Port       uint16
	Mark       uint32
}

func newDevice(l kernel.Link) deviceConfig {
	return deviceConfig{l.Name, key(l.WireGuard.PrivateKey), l.WireGuard.Port, l.WireGuard.Mark}
}

func (d deviceConfig) wireGuard() kernel.WireGuard {
	return kernel.WireGuard{PrivateKey: kernel.Key(d.PrivateKey), Port: d.Port, Mark: d.Mark}
}

// peer is a peer of a device, as it is wanted or as it is.
type peer struct {
	Link      string
	PublicKey key
	PSK       key
	Endpoints []netip.AddrPort
	Keepalive uint16
	Allowed   []netip.Prefix // sorted

	Stay bool // as wanted: the endpoint is to be left alone

	Handshake      int64 // as it is: Unix time in seconds, 0 for never
	Received, Sent uint64
}

func newPeer(p kernel.WireGuardPeer) peer {
	return peer{Link: p.Link, PublicKey: key(p.PublicKey), PSK: key(p.PSK), Endpoints: p.EndpointList(), Keepalive: p.Keepalive,
		Allowed: p.AllowedList(), Stay: p.Stay}
}

// listed returns the peer in the form in which the kernel's are listed.
func (p peer) listed(now time.Time) kernel.WireGuardPeer {
	return kernel.WireGuardPeer{
		Link: p.Link, PublicKey: kernel.PublicKey(p.PublicKey), PSK: kernel.Key(p.PSK), Endpoints: kernel.EndpointText(p.Endpoints...),
		Keepalive: p.Keepalive, Allowed: kernel.AllowedText(p.Allowed...), Listed: true, Fresh: now.Sub(time.Unix(p.Handshake, 0)) < freshFor,
	}
}

func (p peer) traffic() kernel.WireGuardTraffic {
	t := kernel.WireGuardTraffic{Link: p.Link, PublicKey: kernel.PublicKey(p.PublicKey), Handshake: p.Handshake, Received: p.Received, Sent: p.Sent}
	if len(p.Endpoints) > 0 {
		t.Endpoint = p.Endpoints[0]
	}
	return t
}
