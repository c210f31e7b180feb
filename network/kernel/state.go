package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// RouteProtocol marks the routes that Weft makes ("proto 87" in the output of ip route).
const RouteProtocol = 87

// State is what the kernel holds, or should hold, of the objects that are Weft's: a set of comparable values for
// each kind of object, keyed by what makes one unique in the kernel. The zero State is empty and ready to use.
type State struct {
	Links      Set[string, Link]
	Addrs      Set[Addr, Addr]
	Routes     Set[RouteKey, Route]
	Neighbours Set[NeighbourKey, Neighbour]
	Forwards   Set[ForwardKey, Forward]
	Sysctls    Set[string, Sysctl]
	// WireGuardPeers are kept by the kernel in devices of its own, and by an engine in others.
	WireGuardPeers Set[WireGuardPeerKey, WireGuardPeer]
	// What the kernel does not hold by itself, and engines of the agent keep:
	Datagrams    Set[DatagramKey, Datagram]
	Associations Set[AssociationKey, Association]
	Commands     Set[string, Command]
	Probes       Set[netip.Prefix, Probe]
}

// Object is a value that the kernel holds under a key.
type Object[K comparable] interface {
	comparable
	Key() K
}

// Set holds objects by their keys. The nil Set is empty; Add makes it.
type Set[K comparable, V Object[K]] map[K]V

// Add puts v into the set, in the place of an object with the same key.
func (s *Set[K, V]) Add(v V) {
	if *s == nil {
		*s = Set[K, V]{}
	}
	(*s)[v.Key()] = v
}

// MAC is a link-layer address as a comparable value. The zero MAC says that the kernel may choose.
type MAC [6]byte

// String returns the usual form, aa:bb:cc:dd:ee:ff.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Link is a network device that Weft makes. One of the last five fields is set and says of what kind it is. All are zero
// where a device as listed is of the kind that its name stands for and has something that Link cannot say.
type Link struct {
	Name string
	MAC  MAC // zero: whatever the kernel chose is right, or the kind has none
	MTU  int
	Up   bool

	VXLAN     VXLAN
	Tunnel    Tunnel
	WireGuard WireGuard
	XFRM      XFRM
	TUN       bool // stays when nobody has it open; whoever moves its packets opens it with IFF_TUN and IFF_NO_PI
}

// Key returns the name of the device, which is unique in a network namespace.
func (l Link) Key() string { return l.Name }

// VXLAN are the properties of a vxlan device.
type VXLAN struct {
	VNI      uint32     // 1 to 2^24-1
	Port     uint16     // UDP port in host order, never 0
	Local    netip.Addr // source address of the outer packets
	Parent   string     // name of the uplink that outer packets leave by
	Learning bool
	GBP      bool // group policy extension
}

// Addr is an address on one of our devices. Host scope and automatic link-local addresses are nobody's concern.
type Addr struct {
	Link   string
	Prefix netip.Prefix // not masked: address and prefix length
}

// Key returns the address itself: nothing about it can be changed in place.
func (a Addr) Key() Addr { return a }

// RouteType is what happens to packets that match a route.
type RouteType uint8

// The types of route. Weft makes the first two; the others are listed so that they can be replaced or taken away.
const (
	Unicast RouteType = iota
	Unreachable
	Blackhole
	Prohibit
	Throw
)

// RouteKey is what makes a route unique in the kernel, in the main table.
type RouteKey struct {
	Dst    netip.Prefix // masked
	Metric uint32       // IPv6: never 0, the kernel's default is 1024
}

// Route is a route in the main table with RouteProtocol.
type Route struct {
	Dst     netip.Prefix
	Metric  uint32
	Type    RouteType
	Via     netip.Addr // gateway; invalid where there is none
	Link    string     // name of the device; "" for all types but Unicast
	OnLink  bool       // the gateway is taken to be on Link whatever the addresses there say
	Outer   Outer      // set where Link is an IPv6 Tunnel, which asks each route where outer packets go
	Src     netip.Addr // preferred source; invalid where the kernel chooses
	MTU     int        // of the path, locked: whoever sends or is forwarded is held to it; 0 leaves it to the device
	Loose   bool       // as listed: the MTU is not locked, so that the kernel forwards larger packets; never set in a wanted state
	Foreign bool       // as listed: it carries flannel's protocol (boot) in place of ours; never set in a wanted state
}

// Key returns destination and metric.
func (r Route) Key() RouteKey { return RouteKey{r.Dst, r.Metric} }

// NeighbourKey is what makes a neighbour unique in the kernel.
type NeighbourKey struct {
	Link string
	IP   netip.Addr
}

// Neighbour is a permanent ARP or NDP entry on one of our devices.
type Neighbour struct {
	Link string
	IP   netip.Addr
	MAC  MAC
}

// Key returns device and address.
func (n Neighbour) Key() NeighbourKey { return NeighbourKey{n.Link, n.IP} }

// ForwardKey is what makes an FDB entry of a vxlan device unique in the kernel.
type ForwardKey struct {
	Link string
	MAC  MAC
}

// Forward is a permanent entry in the forwarding database of one of our vxlan devices: frames to MAC leave to Dst.
type Forward struct {
	Link string
	MAC  MAC
	Dst  netip.Addr // invalid, as listed: the entry has a port, VNI or device of its own, which Weft never gives it
}

// Key returns device and MAC.
func (f Forward) Key() ForwardKey { return ForwardKey{f.Link, f.MAC} }

// Sysctl is a kernel parameter that must have a value. It is set where it differs and never taken back, because it
// cannot be told who else relies on it by then.
type Sysctl struct {
	Name  string // path below /proc/sys with slashes: "net/ipv4/ip_forward"
	Value string
}

// Key returns the name.
func (s Sysctl) Key() string { return s.Name }

// IsEmpty tells whether the state holds no object.
func (s State) IsEmpty() bool { return s.Len() == 0 }

// Len is the number of objects in s.
func (s State) Len() int {
	return len(s.Links) + len(s.Addrs) + len(s.Routes) + len(s.Neighbours) + len(s.Forwards) + len(s.Sysctls) +
		len(s.WireGuardPeers) + len(s.Datagrams) + len(s.Associations) + len(s.Commands) + len(s.Probes)
}

// Change is what has to be done to turn one State into another.
type Change struct {
	Put  State // made, or changed in place
	Drop State // taken away
}

// IsEmpty tells whether there is nothing to do.
func (c Change) IsEmpty() bool { return c.Put.IsEmpty() && c.Drop.IsEmpty() }

// Diff says what turns have into want. It is pure: Diff(s, s) is empty.
func Diff(have, want State) Change {
	var c Change
	c.Put.Links, c.Drop.Links = diff(have.Links, settled(have.Links, want.Links))
	c.Put.Addrs, c.Drop.Addrs = diff(have.Addrs, want.Addrs)
	c.Put.Routes, c.Drop.Routes = diff(have.Routes, want.Routes)
	c.Put.Neighbours, c.Drop.Neighbours = diff(have.Neighbours, want.Neighbours)
	c.Put.Forwards, c.Drop.Forwards = diff(have.Forwards, want.Forwards)
	c.Put.Sysctls, _ = diff(have.Sysctls, want.Sysctls)
	c.Put.WireGuardPeers, c.Drop.WireGuardPeers = diffPeers(have.WireGuardPeers, want.WireGuardPeers)
	c.Put.Datagrams, c.Drop.Datagrams = diff(have.Datagrams, want.Datagrams)
	c.Put.Associations, c.Drop.Associations = diff(have.Associations, want.Associations)
	c.Put.Commands, c.Drop.Commands = diff(have.Commands, want.Commands)
	c.Put.Probes, c.Drop.Probes = diff(have.Probes, want.Probes)
	return c
}

// settled returns want, in which devices that may have any MAC have that of have.
func settled(have, want Set[string, Link]) Set[string, Link] {
	var s Set[string, Link]
	for _, l := range want {
		if l.MAC == (MAC{}) {
			l.MAC = have[l.Name].MAC
		}
		s.Add(l)
	}
	return s
}

// diff returns the objects of want that have lacks or holds otherwise, and those of have whose keys want lacks.
func diff[K comparable, V Object[K]](have, want Set[K, V]) (put, drop Set[K, V]) {
	found := 0
	for k, v := range want {
		h, ok := have[k]
		if ok {
			found++
		}
		if !ok || h != v {
			put.Add(v)
		}
	}
	if found == len(have) {
		return put, nil
	}
	for k, v := range have {
		if _, ok := want[k]; !ok {
			drop.Add(v)
		}
	}
	return put, drop
}

// String returns one line for each object, sorted, in the words of the ip and bridge commands. Plans are tested
// against it.
func (s State) String() string {
	var lines []string
	lines = appendLines(lines, s.Links)
	lines = appendLines(lines, s.Addrs)
	lines = appendLines(lines, s.Routes)
	lines = appendLines(lines, s.Neighbours)
	lines = appendLines(lines, s.Forwards)
	lines = appendLines(lines, s.Sysctls)
	lines = appendLines(lines, s.WireGuardPeers)
	lines = appendLines(lines, s.Datagrams)
	lines = appendLines(lines, s.Associations)
	lines = appendLines(lines, s.Commands)
	lines = appendLines(lines, s.Probes)
	return strings.Join(lines, "")
}

func appendLines[K comparable, V Object[K]](lines []string, set Set[K, V]) []string {
	from := len(lines)
	for _, v := range set {
		lines = append(lines, fmt.Sprintln(v))
	}
	slices.Sort(lines[from:])
	return lines
}
