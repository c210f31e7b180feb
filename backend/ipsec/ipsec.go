// Package ipsec is the backend that encrypts pods' packets with the kernel's IPsec, ESP in tunnel mode, with keys that strongSwan's IKE daemon
// agrees on with each peer. For each address family there is one XFRM device, and for each peer a route through it and an
// association. It knows what the kernel and the daemon should hold, and refuses to know how it gets there.
package ipsec

import (
	"crypto/sha256"
	"fmt"
	"net/netip"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Kind is the backend type in net-conf.json and in leases.
const Kind = "ipsec"

const (
	leastPSK    = 96 // characters, as with flannel
	protocol    = 50 // ESP
	portIKE     = 500
	portNAT     = 4500
	headerUDP   = 8
	headerInet  = 20
	headerInet6 = 40
)

// Backend is the IPsec backend with its checked config. The zero Backend is not of use; New makes one.
type Backend struct {
	psk      kernel.Secret
	encap    bool
	proposal proposal
	suffix   string // at the end of the devices' names
}

var (
	_ backend.Backend    = Backend{}
	_ backend.Agreeing   = Backend{}
	_ backend.Renamer    = Backend{}
	_ backend.Encrypting = Backend{}
	_ backend.Carrier    = Backend{}
)

// New checks config, the Backend object of net-conf.json. The error joins all mistakes and never shows the key; the
// warnings name keys that are not known.
func New(config string) (Backend, []string, error) {
	r := backend.Read(config)
	b := Backend{psk: kernel.Secret(r.Secret("PSK")), encap: r.Bool("UDPEncap")}
	text := r.Text("ESPProposal", "aes128gcm16-sha256-prfsha256-ecp256")
	var err error
	if b.proposal, err = parseProposal(text); err != nil {
		r.Fault("ESPProposal", err.Error())
	}
	if n := len(b.psk); n < leastPSK {
		r.Fault("PSK", fmt.Sprintf("it has %d characters, and a key that all nodes share needs %d or more; dd if=/dev/urandom count=48 bs=1 status=none | xxd -p -c 48 makes one",
			n, leastPSK))
	}
	warnings, err := r.Done()
	if err != nil {
		return Backend{}, warnings, err
	}
	return b, warnings, nil
}

// Agreed names the algorithms and the key, by a part of its hash. UDPEncap may differ.
func (b Backend) Agreed() string {
	sum := sha256.Sum256([]byte("weft ipsec " + string(b.psk)))
	return fmt.Sprintf("ESP proposal %s and key #%x", b.proposal.text, sum[:4])
}

// Fits is true: a lease of flanneld does not tell.
func (Backend) Fits([2]string) bool { return true }

// Like is a config that New refuses: there is no default for the key.
func (Backend) Like([2]string) string { return "{}" }

// Encrypts is true.
func (Backend) Encrypts() bool { return true }

// Renamed returns the backend with devices, and associations of them, beside those of b.
func (b Backend) Renamed(suffix string) backend.Backend {
	b.suffix = suffix
	return b
}

// device returns the name of the device of family f.
func (b Backend) device(n *backend.Node, f subnet.Family) string {
	if f == subnet.Inet6 {
		return n.Mark.Device("flannel-v6.esp" + b.suffix)
	}
	return n.Mark.Device("flannel.esp" + b.suffix)
}

// id returns the XFRM interface id of that device: 87 and 88, and the next two for each further suffix.
func (b Backend) id(f subnet.Family) uint32 {
	id := uint32(kernel.RouteProtocol + int(f))
	if b.suffix != "" {
		id += 2 * uint32(b.suffix[0]-'a')
	}
	return id
}

// Attrs announces the public addresses alone.
func (b Backend) Attrs(n backend.Node) (subnet.Attrs, error) {
	return n.AnnounceTunnels(Kind, n.TunnelCheck(Kind, b))
}

// Base adds the device of each family and its address, the first of the node's subnet: what the node itself sends to pods comes
// from the subnet then, and so goes through the tunnel.
func (b Backend) Base(n backend.Node, own subnet.Lease, s *kernel.State) error {
	return n.AddTunnels(&own, s, n.TunnelCheck(Kind, b), func(f subnet.Family) kernel.Link {
		return kernel.Link{Name: b.device(&n, f), MTU: b.MTU(n.Uplinks[f]), Up: true, XFRM: kernel.XFRM{ID: b.id(f)}}
	})
}

// Peer adds, for each family, an association with the peer and a route to its subnet through our device.
func (b Backend) Peer(n backend.Node, peer subnet.Lease, s *kernel.State) error {
	return n.AddPeer(&peer, s, func(f subnet.Family, more *kernel.State) error {
		u, own, dst := n.Uplinks[f], n.Subnets[f], peer.Subnets[f].Masked()
		if !own.IsValid() {
			return fmt.Errorf("this node has no %s subnet", f)
		}
		more.Associations.Add(kernel.Association{Link: b.device(&n, f), ID: b.id(f), Own: own.Masked(), Peer: dst, Local: u.Addr, Remote: peer.PublicIP[f],
			Self: u.Public, Encap: b.encap, Proposal: b.proposal.text, PSK: b.psk})
		more.Routes.Add(kernel.Route{Dst: dst, Metric: backend.Metric(dst), Link: b.device(&n, f), MTU: n.RouteMTU(f, &peer, b.MTU)})
		return nil
	})
}

// Overhead is what ESP with the proposal adds at most, with the outer header: 57 bytes over IPv4 with the default one, 77 over IPv6, and 8 more
// with UDPEncap.
func (b Backend) Overhead(outer netip.Addr) int {
	n := headerInet + b.proposal.overhead()
	if subnet.FamilyOf(outer) == subnet.Inet6 {
		n += headerInet6 - headerInet
	}
	if b.encap {
		n += headerUDP
	}
	return n
}

// MTU is the uplink's less the overhead.
func (b Backend) MTU(u backend.Uplink) int { return u.MTU - b.Overhead(u.Addr) }

// Ports are those of IKE, at the second of which packets arrive as well where there is NAT between the nodes.
func (Backend) Ports() []uint16 { return []uint16{portIKE, portNAT} }

// Protocol is 50, ESP.
func (Backend) Protocol(subnet.Family) uint8 { return protocol }
