package lab

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Listing is what the kernel of a host holds, one line for each object in the words of the ip, bridge and nft
// commands, sorted: links, addresses, routes, permanent neighbours, FDB entries, forwarding and rules. What the kernel
// learns and forgets by itself is left out, and so are numbers that differ each time.
type Listing []string

// Listing looks at everything in the host's network namespace.
func (h *Host) Listing() (Listing, error) {
	links, err := h.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links on %s: %w", h.Name, err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var all Listing
	for _, list := range []func(map[int]string) (Listing, error){
		func(names map[int]string) (Listing, error) { return linkLines(links, names), nil },
		h.addrLines, h.routeLines, h.neighbourLines, h.forwardLines, h.sysctlLines, h.ruleLines,
	} {
		lines, err := list(names)
		if err != nil {
			return nil, fmt.Errorf("list the kernel of %s: %w", h.Name, err)
		}
		slices.Sort(lines)
		all = append(all, lines...)
	}
	return all, nil
}

// String returns the lines.
func (l Listing) String() string { return strings.Join(l, "\n") + "\n" }

// marked returns the lines with mark before each.
func (l Listing) marked(mark string) string {
	var b strings.Builder
	for _, line := range l {
		b.WriteString(mark + line + "\n")
	}
	return b.String()
}

// Missing returns the lines of l that o does not have.
func (l Listing) Missing(o Listing) Listing {
	left := map[string]int{}
	for _, line := range o {
		left[line]++
	}
	var missing Listing
	for _, line := range l {
		if left[line] == 0 {
			missing = append(missing, line)
			continue
		}
		left[line]--
	}
	return missing
}

// Equal tells whether both hold the same objects.
func (l Listing) Equal(o Listing) bool { return slices.Equal(l, o) }

func linkLines(links []netlink.Link, names map[int]string) Listing {
	var lines Listing
	for _, l := range links {
		a := l.Attrs()
		line := fmt.Sprintf("link %s %s address %s mtu %d", a.Name, l.Type(), a.HardwareAddr, a.MTU)
		if a.MasterIndex != 0 {
			line += " master " + names[a.MasterIndex]
		}
		if a.Flags&net.FlagUp != 0 {
			line += " up"
		}
		if v, ok := l.(*netlink.Vxlan); ok {
			line += fmt.Sprintf(" id %d local %s dev %s dstport %d", v.VxlanId, v.SrcAddr, names[v.VtepDevIndex], v.Port)
			if v.Learning {
				line += " learning"
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func (h *Host) addrLines(names map[int]string) (Listing, error) {
	addrs, err := h.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	var lines Listing
	for _, a := range addrs {
		// The kernel makes link-local addresses of its own as devices come up, some while later.
		if !a.IP.IsLinkLocalUnicast() {
			lines = append(lines, fmt.Sprintf("addr %s dev %s", a.IPNet, names[a.LinkIndex]))
		}
	}
	return lines, nil
}

func (h *Host) routeLines(names map[int]string) (Listing, error) {
	routes, err := h.nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	var lines Listing
	for _, r := range routes {
		if r.Table != unix.RT_TABLE_LOCAL && (r.Dst == nil || !ownByKernel(r.Dst)) {
			lines = append(lines, routeLine(r, names))
		}
	}
	return lines, nil
}

// ownByKernel tells whether a destination is one of those that the kernel has on every IPv6 device.
func ownByKernel(dst *net.IPNet) bool { return dst.IP.IsLinkLocalUnicast() || dst.IP.IsMulticast() }

func routeLine(r netlink.Route, names map[int]string) string {
	words := []string{"route"}
	if r.Type != unix.RTN_UNICAST {
		words = append(words, routeTypes[r.Type])
	}
	dst := "default"
	if r.Dst != nil {
		if ones, _ := r.Dst.Mask.Size(); ones > 0 {
			dst = r.Dst.String()
		} else if r.Dst.IP.To4() == nil {
			dst = "default-ipv6"
		}
	}
	words = append(words, dst)
	if r.Gw != nil {
		words = append(words, "via", r.Gw.String())
	}
	if r.LinkIndex != 0 {
		words = append(words, "dev", names[r.LinkIndex])
	}
	words = append(words, "proto", r.Protocol.String())
	if r.Src != nil {
		words = append(words, "src", r.Src.String())
	}
	if r.Priority != 0 {
		words = append(words, fmt.Sprintf("metric %d", r.Priority))
	}
	if r.MTU != 0 {
		lock := ""
		if r.MTULock {
			lock = "lock "
		}
		words = append(words, fmt.Sprintf("mtu %s%d", lock, r.MTU))
	}
	if r.Flags&unix.RTNH_F_ONLINK != 0 {
		words = append(words, "onlink")
	}
	if r.Flags&unix.RTNH_F_LINKDOWN != 0 {
		words = append(words, "linkdown")
	}
	if r.Table != unix.RT_TABLE_MAIN {
		words = append(words, fmt.Sprintf("table %d", r.Table))
	}
	return strings.Join(words, " ")
}

var routeTypes = map[int]string{
	unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit",
	unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_MULTICAST: "multicast", unix.RTN_ANYCAST: "anycast",
}

func (h *Host) neighbourLines(names map[int]string) (Listing, error) {
	neighbours, err := h.nl.NeighList(0, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("neighbours: %w", err)
	}
	var lines Listing
	for _, n := range neighbours {
		if n.State&netlink.NUD_PERMANENT != 0 {
			lines = append(lines, fmt.Sprintf("neigh %s lladdr %s dev %s permanent", n.IP, n.HardwareAddr, names[n.LinkIndex]))
		}
	}
	return lines, nil
}

// forwardLines lists the FDB entries of tunnels. Those of bridges and veths are the kernel's own.
func (h *Host) forwardLines(names map[int]string) (Listing, error) {
	entries, err := h.nl.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return nil, fmt.Errorf("FDB entries: %w", err)
	}
	var lines Listing
	for _, n := range entries {
		if n.Flags&netlink.NTF_SELF != 0 && n.IP != nil {
			lines = append(lines, fmt.Sprintf("fdb %s dev %s dst %s", n.HardwareAddr, names[n.LinkIndex], n.IP))
		}
	}
	return lines, nil
}

// sysctlLines lists the parameters of the network that a node needs to forward packets of pods.
func (h *Host) sysctlLines(map[int]string) (Listing, error) {
	var lines Listing
	err := h.Do(func() error {
		for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
			value, err := os.ReadFile("/proc/sys/" + name)
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
			lines = append(lines, fmt.Sprintf("sysctl %s=%s", name, strings.TrimSpace(string(value))))
		}
		return nil
	})
	return lines, err
}
