// Package wireguard is the backend that encrypts pods' packets with WireGuard: one device for each address family, or one
// for both, and for each peer a route and a peer of the device. It speaks with flanneld's backend of the same name. It
// knows what the devices should hold, and refuses to know where a private key comes from.
package wireguard

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json and in leases.
const Kind = "wireguard"

// What goes in front of and behind a pod's packet: WireGuard's type (4), receiver (4), counter (8) and authentication (16),
// UDP (8), and IP. The protocol fills packets up to a multiple of 16 bytes, but never beyond the device's MTU.
const (
	overheadInet  = 4 + 4 + 8 + 16 + 8 + 20
	overheadInet6 = 4 + 4 + 8 + 16 + 8 + 40
)

// defaultPort is where the device of IPv4 listens, that of IPv6 is the next one.
const defaultPort = 51820

// mode says by which family outer packets go.
type mode string

const (
	separate mode = "separate" // each family by itself, with a device for each
	auto     mode = "auto"     // one device, and for each peer the family that is more likely to get through
	byInet   mode = "ipv4"     // one device, outer packets are IPv4
	byInet6  mode = "ipv6"     // one device, outer packets are IPv6
)

// Backend is the WireGuard backend with its checked config. The zero Backend is not of use; New makes one.
type Backend struct {
	psk       kernel.Key
	ports     [2]uint16 // that the devices listen at
	mtu       int       // of the underlay; 0 is the uplink's
	mode      mode
	keepalive uint16 // seconds; 0 leaves it to what the addresses of both sides say
	devices   [2]string
}

var (
	_ backend.Backend    = Backend{}
	_ backend.Agreeing   = Backend{}
	_ backend.Renamer    = Backend{}
	_ backend.Encrypting = Backend{}
	_ backend.Rotating   = Backend{}
)

// New checks config, the Backend object of net-conf.json. The error joins all mistakes; the warnings name keys that
// are not known.
func New(config string) (Backend, []string, error) { return From(backend.Read(config)) }

// From is New for a config that somebody else has begun to read.
func From(r *backend.Reader) (Backend, []string, error) {
	b := Backend{
		ports: [2]uint16{
			subnet.Inet:  uint16(r.Int("ListenPort", defaultPort, 1, 1<<16-1)),
			subnet.Inet6: uint16(r.Int("ListenPortV6", defaultPort+1, 1, 1<<16-1)),
		},
		mtu:       r.Int("MTU", 0, 0, 1<<16-1),
		mode:      mode(r.Text("Mode", string(separate))),
		keepalive: uint16(r.Int("PersistentKeepaliveInterval", 0, 0, 1<<16-1)),
	}
	switch b.mode {
	case separate:
		if b.ports[subnet.Inet] == b.ports[subnet.Inet6] {
			r.Fault("ListenPortV6", fmt.Sprintf("%d is the port of ListenPort too; in the mode separate each family needs one of its own", b.ports[subnet.Inet6]))
		}
	case auto, byInet, byInet6:
		b.ports[subnet.Inet6] = b.ports[subnet.Inet]
	default:
		r.Fault("Mode", fmt.Sprintf("%.40q is not separate, auto, ipv4 or ipv6", string(b.mode)))
	}
	var err error
	if b.psk, err = parseSecret(r.Secret("PSK")); err != nil {
		r.Fault("PSK", err.Error())
	}
	warnings, err := r.Done()
	if err != nil {
		return Backend{}, warnings, err
	}
	b.name("")
	return b, warnings, nil
}

// parseSecret reads a preshared key; "" is none. The error does not show what was read.
func parseSecret(text string) (kernel.Key, error) {
	if text == "" {
		return kernel.Key{}, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		return kernel.Key{}, fmt.Errorf("a text of %d characters, which is not shown, is not base64; it must be 32 bytes in base64, as wg genpsk prints them", len(text))
	case len(raw) != len(kernel.Key{}):
		return kernel.Key{}, fmt.Errorf("a key of %d bytes, which is not shown, has the wrong length; it must be 32 bytes in base64, as wg genpsk prints them", len(raw))
	}
	return kernel.Key(raw), nil
}

// Attrs announces the public key and the port of each family's device.
func (b Backend) Attrs(n backend.Node) (subnet.Attrs, error) {
	a, err := n.AnnounceTunnels(Kind, b.check(&n))
	if err != nil {
		return subnet.Attrs{}, err
	}
	public, err := PublicKey(n.WireGuardKey)
	if err != nil {
		return subnet.Attrs{}, err
	}
	for _, f := range subnet.Families {
		if n.Serves(f) {
			a.Data[f] = announce(public, b.ports[f], n.Uplinks[f])
		}
	}
	return a, nil
}

// Base adds the devices and the first address of the node's subnet on each, as a host address, so that no route to
// the subnet comes with it.
func (b Backend) Base(n backend.Node, own subnet.Lease, s *kernel.State) error {
	if n.WireGuardKey == (kernel.Key{}) {
		return errNoKey
	}
	return n.AddTunnels(&own, s, b.check(&n), func(f subnet.Family) kernel.Link {
		return kernel.Link{
			Name: n.Mark.Device(b.devices[f]), MTU: b.deviceMTU(n, f), Up: true,
			WireGuard: kernel.WireGuard{PrivateKey: n.WireGuardKey, Port: b.ports[f]},
		}
	})
}

// deviceMTU is that of the device of family f: one device for both carries what fits over either uplink.
func (b Backend) deviceMTU(n backend.Node, f subnet.Family) int {
	if b.mode == separate {
		return b.MTU(n.Uplinks[f])
	}
	return backend.MTU(b, n)
}

// check tells of a family whether there can be a device for it on n.
func (b Backend) check(n *backend.Node) func(subnet.Family) error {
	return func(f subnet.Family) error {
		for _, outer := range subnet.Families {
			if b.mode == [...]mode{byInet, byInet6}[outer] && !n.Uplinks[outer].Valid() {
				return fmt.Errorf("Backend.Mode: %q needs nodes with %s addresses, and this one has none; separate or auto would do", string(b.mode), outer)
			}
		}
		u := n.Uplinks[f]
		settings := fmt.Sprintf("the uplink's MTU (%d) and Backend.MTU (%d)", u.MTU, cmp.Or(b.mtu, u.MTU))
		return n.CheckTunnel(Kind, f, b.MTU(u), b.overhead(u), settings)
	}
}

// Overhead is 60 bytes over IPv4 and 80 over IPv6.
func (b Backend) Overhead(outer netip.Addr) int {
	if subnet.FamilyOf(outer) == subnet.Inet6 {
		return overheadInet6
	}
	return overheadInet
}

// overhead is what packets over u may grow by: outer packets of one device for both families need not be of u's own.
func (b Backend) overhead(u backend.Uplink) int {
	switch b.mode {
	case byInet:
		return overheadInet
	case auto, byInet6:
		return overheadInet6
	}
	return b.Overhead(u.Addr)
}

// MTU is the uplink's, or the smaller one that the config gives to the underlay, less the overhead.
func (b Backend) MTU(u backend.Uplink) int {
	outer := u.MTU
	if b.mtu != 0 {
		outer = min(outer, b.mtu)
	}
	return outer - b.overhead(u)
}

// Ports are those of the devices.
func (b Backend) Ports() []uint16 {
	if b.mode == separate {
		return b.ports[:]
	}
	return b.ports[:1]
}
