// Package vxlan is the backend that carries pods' packets in VXLAN: one device for each address family, and for each
// peer a route, a neighbour and a forwarding entry in the form that flannel gives them, so that either agent can take
// over from the other. It knows what the kernel should hold, and refuses to know how it gets there.
package vxlan

import (
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json and in leases.
const Kind = "vxlan"

// What the headers in front of a pod's packet add up to: Ethernet (14), VXLAN (8), UDP (8), and IP.
const (
	overheadInet  = 14 + 8 + 8 + 20
	overheadInet6 = 14 + 8 + 8 + 40
)

// Backend is the VXLAN backend with its checked config. The zero Backend is not of use; New makes one.
type Backend struct {
	vni           int
	devices       [2]string // their names, the same as flannel's
	port          int
	mtu           int // of the underlay; 0 is the uplink's
	gbp           bool
	learning      bool
	directRouting bool
}

var _ backend.Backend = Backend{}

// New checks config, the Backend object of net-conf.json. The error joins all mistakes; the warnings name keys that
// are not known.
func New(config string) (Backend, []string, error) {
	r := backend.Read(config)
	b := read(r)
	b.directRouting = r.Bool("DirectRouting")
	return b.checked(r)
}

// From is New for a config that somebody else has begun to read, who says by himself which peers get plain routes.
func From(r *backend.Reader) (Backend, []string, error) { return read(r).checked(r) }

// read asks for all keys but DirectRouting.
func read(r *backend.Reader) Backend {
	b := Backend{
		vni:      r.Int("VNI", 1, 1, 1<<24-1),
		port:     r.Int("Port", 0, 0, 1<<16-1),
		mtu:      r.Int("MTU", 0, 0, 1<<16-1),
		gbp:      r.Bool("GBP"),
		learning: r.Bool("Learning"),
	}
	if b.port == 0 { // flannel's way to say that the kernel's own is meant
		b.port = 8472
	}
	b.name("")
	return b
}

// checked ends the reading.
func (b Backend) checked(r *backend.Reader) (Backend, []string, error) {
	warnings, err := r.Done()
	if err != nil {
		return Backend{}, warnings, err
	}
	return b, warnings, nil
}

// name names the devices. They end in a suffix where another device has the same VNI at another port.
func (b *Backend) name(suffix string) {
	b.devices = [2]string{subnet.Inet: fmt.Sprintf("flannel.%d%s", b.vni, suffix), subnet.Inet6: fmt.Sprintf("flannel-v6.%d%s", b.vni, suffix)}
}

// Renamed returns b with a suffix at the end of its devices' names.
func (b Backend) Renamed(suffix string) backend.Backend {
	b.name(suffix)
	return b
}

// Agreed names what all nodes must have in common to reach each other.
func (b Backend) Agreed() string { return fmt.Sprintf("VNI %d at port %d", b.vni, b.port) }

// Fits tells whether data are of the same VNI, so far as they tell it.
func (b Backend) Fits(data [2]string) bool {
	for _, text := range data {
		if text == "" {
			continue
		}
		if v, err := parse(text); err == nil && !v.speaks(b.vni) {
			return false
		}
	}
	return true
}

// Like returns a config with the VNI that data tell.
func (Backend) Like(data [2]string) string {
	for _, text := range data {
		if text == "" {
			continue
		}
		if v, err := parse(text); err == nil && v.vni > 1 {
			return fmt.Sprintf(`{"VNI":%d}`, v.vni)
		}
	}
	return "{}"
}

// Attrs announces the VNI and the MAC of each family's device. A MAC that the lease carries already is kept.
func (b Backend) Attrs(n backend.Node) (subnet.Attrs, error) {
	a, err := n.AnnounceTunnels(Kind, b.check(&n))
	if err != nil {
		return subnet.Attrs{}, err
	}
	for _, f := range subnet.Families {
		if n.Serves(f) {
			a.Data[f] = b.data(b.mac(&n, f))
		}
	}
	return a, nil
}

// Base adds the device of each family and its address, the first of the node's subnet, as a host address, so that
// no route to the subnet comes with it.
func (b Backend) Base(n backend.Node, own subnet.Lease, s *kernel.State) error {
	return n.AddTunnels(&own, s, b.check(&n), func(f subnet.Family) kernel.Link {
		u := n.Uplinks[f]
		return kernel.Link{
			Name: n.Mark.Device(b.devices[f]),
			MAC:  b.mac(&n, f),
			MTU:  b.MTU(u),
			Up:   true,
			VXLAN: kernel.VXLAN{
				VNI: uint32(b.vni), Port: uint16(b.port), Local: u.Addr, Parent: u.Link, Learning: b.learning, GBP: b.gbp,
			},
		}
	})
}

// nameMax is the length of a device's name that the kernel takes, IFNAMSIZ less the zero at the end.
const nameMax = 15

// check tells of a family whether there can be a device on n.
func (b Backend) check(n *backend.Node) func(subnet.Family) error {
	return func(f subnet.Family) error {
		if name := n.Mark.Device(b.devices[f]); len(name) > nameMax {
			return fmt.Errorf("%s vxlan needs a device %s, and the kernel takes names of %d bytes: Backend.VNI must be a smaller number",
				f, name, nameMax)
		}
		u := n.Uplinks[f]
		return n.CheckTunnel(Kind, f, b.MTU(u), b.Overhead(u.Addr), "the uplink's MTU and Backend.MTU")
	}
}

// Overhead is 50 bytes over IPv4 and 70 over IPv6.
func (b Backend) Overhead(outer netip.Addr) int {
	if subnet.FamilyOf(outer) == subnet.Inet6 {
		return overheadInet6
	}
	return overheadInet
}

// MTU is the uplink's, or the smaller one that the config gives to the underlay, less the overhead. A configured
// one beyond the uplink's has no effect: the kernel refuses a device that is larger than what carries it.
func (b Backend) MTU(u backend.Uplink) int {
	outer := u.MTU
	if b.mtu != 0 {
		outer = min(outer, b.mtu)
	}
	return outer - b.Overhead(u.Addr)
}

// Number is the VNI.
func (b Backend) Number() uint32 { return uint32(b.vni) }

// Ports is the port of the devices.
func (b Backend) Ports() []uint16 { return []uint16{uint16(b.port)} }
