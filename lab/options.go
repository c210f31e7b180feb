package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// Options say what a lab looks like. The zero value is the lab of the demo: three nodes with two pods each, VXLAN, IPv4.
type Options struct {
	Nodes    int             // 0: three
	Pods     int             // pods on each node; 0: two, negative: none
	Families []subnet.Family // of pods and underlay; nil: IPv4
	Backend  string          // the Backend object of the network config; "": {"Type":"vxlan"}
	Config   string          // the whole network config; "": made from Families and Backend
	Racks    int             // networks that the nodes are spread over, joined by a router; 0: one
	Members  int             // of the etcd cluster; 0: one
	MTU      int             // of the underlay, bytes; 0: 1500
	Flags    []string        // further flags of weftd

	DropForward bool // the nodes drop what they forward unless somebody accepts it, as Docker makes them

	Progress func(string) // told what is being done, in words; may be nil
}

// The limits of a lab: what fits into its addresses.
const (
	maxNodes = 100
	maxPods  = 100
	maxRacks = 9
)

// Check says everything that is wrong with o, in one error.
func (o Options) Check() error {
	o = o.complete()
	var wrong []string
	for _, n := range []struct {
		name           string
		got, low, high int
	}{
		{"nodes", o.Nodes, 1, maxNodes}, {"pods on each node", o.Pods, 0, maxPods}, {"racks", o.Racks, 1, maxRacks},
		{"members of etcd", o.Members, 1, 9}, {"MTU of the underlay", o.MTU, 1280, 65535},
	} {
		if n.got < n.low || n.got > n.high {
			wrong = append(wrong, fmt.Sprintf("%s: %d is not between %d and %d", n.name, n.got, n.low, n.high))
		}
	}
	if !json.Valid([]byte(o.Config)) {
		wrong = append(wrong, fmt.Sprintf("network config: %q is not JSON", o.Config))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("lab options: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// complete fills in what was left open.
func (o Options) complete() Options {
	o.Nodes = cmp.Or(o.Nodes, 3)
	o.Pods = max(cmp.Or(o.Pods, 2), 0)
	o.Racks = cmp.Or(o.Racks, 1)
	o.Members = cmp.Or(o.Members, 1)
	o.MTU = cmp.Or(o.MTU, 1500)
	if len(o.Families) == 0 {
		o.Families = []subnet.Family{subnet.Inet}
	}
	o.Backend = cmp.Or(o.Backend, `{"Type":"vxlan"}`)
	o.Config = cmp.Or(o.Config, netConf(o.Families, o.Backend))
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

// ParseFamilies reads "ipv4", "ipv6" or "dual".
func ParseFamilies(s string) ([]subnet.Family, error) {
	switch s {
	case "ipv4":
		return []subnet.Family{subnet.Inet}, nil
	case "ipv6":
		return []subnet.Family{subnet.Inet6}, nil
	case "dual":
		return subnet.Families[:], nil
	}
	return nil, fmt.Errorf("families %q: must be ipv4, ipv6 or dual", s)
}

// ParseBackend reads the name of a backend, or a whole Backend object, and returns the object.
func ParseBackend(s string) (string, error) {
	if !strings.HasPrefix(strings.TrimSpace(s), "{") {
		return fmt.Sprintf(`{"Type":%q}`, s), nil
	}
	if !json.Valid([]byte(s)) {
		return "", fmt.Errorf("backend %q: must be a name like vxlan, or a JSON object", s)
	}
	return s, nil
}

// podNetworks are the pods' networks in the lab's own config.
var podNetworks = [2]string{"10.244.0.0/16", "fd00:244::/48"}

// netConf is the network config of a lab.
func netConf(families []subnet.Family, backend string) string {
	keys := []string{}
	enabled := [2]bool{}
	for _, f := range families {
		enabled[f] = true
	}
	if enabled[subnet.Inet] {
		keys = append(keys, fmt.Sprintf(`"Network": %q`, podNetworks[subnet.Inet]))
	} else {
		keys = append(keys, `"EnableIPv4": false`)
	}
	if enabled[subnet.Inet6] {
		keys = append(keys, fmt.Sprintf(`"EnableIPv6": true, "IPv6Network": %q`, podNetworks[subnet.Inet6]))
	}
	keys = append(keys, `"Backend": `+backend)
	return "{" + strings.Join(keys, ", ") + "}"
}

// rackNetwork is the network of the underlay in one rack: 172.18.R.0/24, fd18:0:0:R::/64.
func rackNetwork(f subnet.Family, rack int) netip.Prefix {
	if f == subnet.Inet {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 18, byte(rack), 0}), 24)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x18, 7: byte(rack)}), 64)
}

// Numbers of hosts in their rack's network.
const (
	routerNumber = 1
	nodeNumber   = 10  // of the first node
	memberNumber = 200 // of the first member of etcd
)

// hostPrefix is the address of a host in its rack, with the length of the rack's network.
func hostPrefix(f subnet.Family, rack, number int) netip.Prefix {
	p := rackNetwork(f, rack)
	b := p.Addr().AsSlice()
	b[len(b)-1] = byte(number)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}

// outsideAddrs are addresses that no node has a route to but by its default route: the world outside the cluster.
var outsideAddrs = [2]netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:ffff::1")}
