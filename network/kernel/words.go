package kernel

import (
	"fmt"
	"strings"
)

// String returns the device as "ip link add" would be told to make it.
func (l Link) String() string {
	words := []string{"link", l.Name}
	if k := l.kind(); k != nil {
		words = append(words, k.words(l))
	}
	if l.MAC != (MAC{}) {
		words = append(words, "address", l.MAC.String())
	}
	words = append(words, fmt.Sprintf("mtu %d", l.MTU))
	if l.Up {
		words = append(words, "up")
	}
	return strings.Join(words, " ")
}

// String returns the properties as "ip link add type vxlan" takes them.
func (v VXLAN) String() string {
	s := fmt.Sprintf("vxlan id %d local %s dev %s dstport %d", v.VNI, v.Local, v.Parent, v.Port)
	if !v.Learning {
		s += " nolearning"
	}
	if v.GBP {
		s += " gbp"
	}
	return s
}

// String returns the properties as "ip link add type ipip" or "ip6tnl" takes them.
func (t Tunnel) String() string {
	if t.Local.Is6() {
		return "ip6tnl mode ip6ip6 external"
	}
	words := "ipip local " + t.Local.String()
	if t.Parent != "" {
		words += " dev " + t.Parent
	}
	return words
}

// String returns the properties as "wg set" takes them, without the key.
func (w WireGuard) String() string {
	words := fmt.Sprintf("wireguard listen-port %d", w.Port)
	if w.Mark != 0 {
		words += fmt.Sprintf(" fwmark %#x", w.Mark)
	}
	return words
}

// String returns the address as "ip addr add" takes it.
func (a Addr) String() string { return fmt.Sprintf("addr %s dev %s", a.Prefix, a.Link) }

// String returns the name of the type as ip route knows it.
func (t RouteType) String() string {
	switch t {
	case Unicast:
		return "unicast"
	case Unreachable:
		return "unreachable"
	case Blackhole:
		return "blackhole"
	case Prohibit:
		return "prohibit"
	case Throw:
		return "throw"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// String returns the route as "ip route add" takes it.
func (r Route) String() string {
	var b strings.Builder
	b.WriteString("route ")
	if r.Type != Unicast {
		b.WriteString(r.Type.String() + " ")
	}
	b.WriteString(r.Dst.String())
	if r.Outer != (Outer{}) {
		fmt.Fprintf(&b, " encap ip6 dst %s src %s", r.Outer.Dst, r.Outer.Src)
	}
	if r.Via.IsValid() {
		fmt.Fprintf(&b, " via %s", r.Via)
	}
	if r.Link != "" {
		fmt.Fprintf(&b, " dev %s", r.Link)
	}
	if r.Foreign {
		b.WriteString(" proto boot")
	} else {
		fmt.Fprintf(&b, " proto %d", RouteProtocol)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.OnLink {
		b.WriteString(" onlink")
	}
	if r.Src.IsValid() {
		fmt.Fprintf(&b, " src %s", r.Src)
	}
	if r.MTU != 0 {
		lock := "lock "
		if r.Loose {
			lock = ""
		}
		fmt.Fprintf(&b, " mtu %s%d", lock, r.MTU)
	}
	return b.String()
}

// String returns the neighbour as "ip neigh add" takes it.
func (n Neighbour) String() string {
	return fmt.Sprintf("neigh %s lladdr %s dev %s nud permanent", n.IP, n.MAC, n.Link)
}

// String returns the entry as "bridge fdb add" takes it.
func (f Forward) String() string {
	return fmt.Sprintf("fdb %s dev %s dst %s self permanent", f.MAC, f.Link, f.Dst)
}

// String returns the parameter as "sysctl -w" takes it, with slashes.
func (s Sysctl) String() string { return fmt.Sprintf("sysctl %s=%s", s.Name, s.Value) }
