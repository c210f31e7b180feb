package network

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// host is a machine as Vagrant makes them: the default route leads into a network that is the same on all of them.
var host = kernel.Facts{
	Devices: []kernel.Device{
		{Name: "lo", Index: 1, MTU: 65536, Up: true, Loopback: true},
		hostDevice("flannel.1", 1450, true, "10.5.7.0/32"),
		hostDevice("eth0", 1500, false, "10.0.2.15/24", "fec0::15/64"),
		hostDevice("eth1", 9000, false, "192.0.2.7/24", "198.51.100.7/25", "2001:db8::7/64"),
		hostDevice("eth2", 1500, false),
	},
	Defaults: []kernel.DefaultRoute{
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Link: "flannel.1"},
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Link: "eth2", Metric: 10},
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Link: "eth0", Metric: 100},
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Link: "eth1", Metric: 200},
		{Dst: netip.MustParsePrefix("::/0"), Link: "eth1", Metric: 1024},
	},
}

func hostDevice(name string, mtu int, ours bool, addrs ...string) kernel.Device {
	d := kernel.Device{Name: name, MTU: mtu, Up: true, Ours: ours}
	for _, a := range addrs {
		d.Addrs = append(d.Addrs, netip.MustParsePrefix(a))
	}
	return d
}

// table answers RouteTo from a map of addresses to "device source".
type table map[string]string

func (r table) RouteTo(_ context.Context, a netip.Addr) (string, netip.Addr, error) {
	link, src, ok := strings.Cut(r[a.String()], " ")
	if !ok {
		return "", netip.Addr{}, errors.New("network is unreachable")
	}
	return link, netip.MustParseAddr(src), nil
}

// hints says an IPv4 address, and by whom.
func hints(addr, origin string) [2]subnet.Hint {
	return [2]subnet.Hint{subnet.Inet: {Addr: netip.MustParseAddr(addr), Origin: origin}}
}

func TestUplinkChoice(t *testing.T) {
	public := func(text string) [2]netip.Addr {
		a := netip.MustParseAddr(text)
		var p [2]netip.Addr
		p[subnet.FamilyOf(a)] = a
		return p
	}
	for _, c := range []struct {
		name   string
		rules  UplinkRules
		family subnet.Family
		want   string // link, address, public, reason; or a part of the error
	}{
		{"the default route that works", UplinkRules{}, subnet.Inet, "eth0 10.0.2.15 10.0.2.15 it has the default route"},
		{"IPv6's own default route", UplinkRules{}, subnet.Inet6, "eth1 2001:db8::7 2001:db8::7 it has the default route"},
		{"by name", UplinkRules{Ifaces: []string{"eth1"}}, subnet.Inet, "eth1 192.0.2.7 192.0.2.7 named by --iface eth1"},
		{"the first name that exists", UplinkRules{Ifaces: []string{"ens3", "eth2", "eth1"}}, subnet.Inet, "eth1 192.0.2.7 192.0.2.7 named by --iface eth1"},
		{"by address", UplinkRules{Ifaces: []string{"198.51.100.7"}}, subnet.Inet, "eth1 198.51.100.7 198.51.100.7 it has the address 198.51.100.7 (--iface)"},
		{"by an address of the other family", UplinkRules{Ifaces: []string{"198.51.100.7"}}, subnet.Inet6, "eth1 2001:db8::7 2001:db8::7 it has the address 198.51.100.7 (--iface)"},
		{"by expression for the name, never our own", UplinkRules{Regexps: regexps(".*[1-9]")}, subnet.Inet, "eth1 192.0.2.7 192.0.2.7 name matches --iface-regex .*[1-9]"},
		{"by expression for the address", UplinkRules{Regexps: regexps(`^198\.51\.`)}, subnet.Inet, `eth1 198.51.100.7 198.51.100.7 address matches --iface-regex ^198\.51\.`},
		{"names before expressions", UplinkRules{Ifaces: []string{"eth0"}, Regexps: regexps("eth1")}, subnet.Inet, "eth0 10.0.2.15 10.0.2.15 named by --iface eth0"},
		{"nothing matches", UplinkRules{Ifaces: []string{"ens3"}, Regexps: regexps("bond")}, subnet.Inet,
			"no IPv4 uplink: no device with an IPv4 address matches --iface ens3 --iface-regex bond; name another one: this host has eth0 10.0.2.15,fec0::15; eth1 "},
		{"by what it reaches", UplinkRules{CanReach: netip.MustParseAddr("203.0.113.9")}, subnet.Inet, "eth1 198.51.100.7 198.51.100.7 it reaches 203.0.113.9 (--iface-can-reach)"},
		{"that is not reached", UplinkRules{CanReach: netip.MustParseAddr("203.0.113.1")}, subnet.Inet, "no route to 203.0.113.1 (--iface-can-reach): network is unreachable"},
		{"what an IPv4 address reaches does not decide about IPv6", UplinkRules{CanReach: netip.MustParseAddr("203.0.113.9")}, subnet.Inet6, "eth1 2001:db8::7 2001:db8::7 it has the default route"},
		{"a public address that is the host's", UplinkRules{Public: public("192.0.2.7")}, subnet.Inet, "eth1 192.0.2.7 192.0.2.7 it has the address 192.0.2.7 (--public-ip)"},
		{"a public address behind NAT", UplinkRules{Public: public("203.0.113.5")}, subnet.Inet, "eth0 10.0.2.15 203.0.113.5 it has the default route; announced as 203.0.113.5 (--public-ip)"},
		{"the address that the store knows the node by", UplinkRules{self: subnet.Self{Uplink: hints("192.0.2.7", "the Node's InternalIP")}}, subnet.Inet,
			"eth1 192.0.2.7 192.0.2.7 it has the address 192.0.2.7 (the Node's InternalIP)"},
		{"the address that the store knows the node by is elsewhere", UplinkRules{self: subnet.Self{Uplink: hints("203.0.113.5", "the Node's InternalIP")}}, subnet.Inet,
			"eth0 10.0.2.15 10.0.2.15 it has the default route; no device has 203.0.113.5 (the Node's InternalIP)"},
		{"flags before what the store says", UplinkRules{Ifaces: []string{"eth0"}, self: subnet.Self{Uplink: hints("192.0.2.7", "the Node's InternalIP")}}, subnet.Inet,
			"eth0 10.0.2.15 10.0.2.15 named by --iface eth0"},
		{"a public address that the store says", UplinkRules{self: subnet.Self{Public: hints("203.0.113.5", "an annotation"), Uplink: hints("192.0.2.7", "InternalIP")}}, subnet.Inet,
			"eth1 192.0.2.7 203.0.113.5 it has the address 192.0.2.7 (InternalIP); announced as 203.0.113.5 (an annotation)"},
		{"the flag before the store's public address", UplinkRules{Public: public("192.0.2.7"), self: subnet.Self{Public: hints("203.0.113.5", "an annotation")}}, subnet.Inet,
			"eth1 192.0.2.7 192.0.2.7 it has the address 192.0.2.7 (--public-ip)"},
		{"what is overwritten before the flag", UplinkRules{Public: public("192.0.2.7"), self: subnet.Self{Overwrite: hints("203.0.113.5", "an annotation")}}, subnet.Inet,
			"eth1 192.0.2.7 203.0.113.5 it has the address 192.0.2.7 (--public-ip); announced as 203.0.113.5 (an annotation)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var families [2]bool
			families[c.family] = true
			ups, err := c.rules.choose(context.Background(), host, table{"203.0.113.9": "eth1 198.51.100.7"}, families)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %q, want %q", err, c.want)
				}
				return
			}
			u := ups[c.family]
			if got := strings.Join([]string{u.Link, u.Addr.String(), u.Public.String(), u.Reason}, " "); got != c.want {
				t.Errorf("uplink %q, want %q", got, c.want)
			}
		})
	}
}

func regexps(texts ...string) (list []*regexp.Regexp) {
	for _, s := range texts {
		list = append(list, regexp.MustCompile(s))
	}
	return list
}

func TestUplinkKnowsItsNeighbourhood(t *testing.T) {
	ups, err := UplinkRules{Ifaces: []string{"eth1"}}.choose(context.Background(), host, table{}, [2]bool{true, true})
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]bool{"192.0.2.200": true, "198.51.100.100": true, "198.51.100.200": false, "10.0.2.2": false} {
		if got := ups[subnet.Inet].Reaches(netip.MustParseAddr(a)); got != want {
			t.Errorf("reaches %s: %v, want %v", a, got, want)
		}
	}
	if ups[subnet.Inet].MTU != 9000 {
		t.Errorf("MTU %d", ups[subnet.Inet].MTU)
	}
}

func TestOneFamilyWithoutUplinkLeavesTheOther(t *testing.T) {
	facts := host
	facts.Defaults = host.Defaults[:4]
	ups, err := UplinkRules{}.choose(context.Background(), facts, table{}, [2]bool{true, true})
	if err == nil || !strings.Contains(err.Error(), "no IPv6 uplink") || !ups[subnet.Inet].Valid() || ups[subnet.Inet6].Valid() {
		t.Errorf("uplinks %+v, error %v", ups, err)
	}
}

func TestSameUplinksLooksAtWhatMatters(t *testing.T) {
	a := [2]backend.Uplink{{Link: "eth0", MTU: 1500, Reason: "x", OnLink: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	reason, mtu, nets := a, a, a
	reason[0].Reason = "y"
	mtu[0].MTU = 1400
	nets[0].OnLink = nil
	if !sameUplinks(a, reason) || sameUplinks(a, mtu) || sameUplinks(a, nets) {
		t.Error("only the reason may differ")
	}
}
