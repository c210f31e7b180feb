package kernel

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A device is ours by its name and kind together.
func TestOurNames(t *testing.T) {
	for name, want := range map[string][]string{
		"flannel.1": {"vxlan"}, "flannel.16777215": {"vxlan"}, "flannel-v6.1": {"vxlan"}, "flannel.1b": {"vxlan"},
		"flannel-v6.1z": {"vxlan"}, "flannel.ipip": {"ipip"}, "flannel-v6.ipip": {"ip6tnl"}, "flannel-wg": {"wireguard", "tun"},
		"flannel-wg-v6": {"wireguard", "tun"}, "flannel0": {"tun"}, "flannel-v6.0": {"vxlan", "tun"}, "flannel0b": {"tun"}, "flannel0a": nil,
		"flannel.esp": {"xfrm"}, "flannel-v6.esp": {"xfrm"}, "flannel.espb": {"xfrm"}, "flannel.espa": nil, "flannel.espbc": nil,
		"flannel.": nil, "flannel.1a": nil, "flannel.1bc": nil, "flannel.b": nil, "flannel.b1": nil, "flannel.+1": nil, "flannel1": nil,
		"xflannel.1": nil, "flannel-v6.": nil, "flannel-wg1": nil, "tunl0": nil, "ip6tnl0": nil, "wg0": nil, "tun0": nil, "": nil,
	} {
		var got []string
		for _, kind := range []string{"vxlan", "ipip", "ip6tnl", "wireguard", "tun", "xfrm", "veth", "dummy", ""} {
			if (device{name: name, kind: kind}).isOurs() {
				got = append(got, kind)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q is ours with the kinds %v, want %v", name, got, want)
		}
	}
}

var (
	inet  = netip.MustParseAddr("192.0.2.1")
	inet6 = netip.MustParseAddr("2001:db8::1")
)

func TestKindInWords(t *testing.T) {
	for _, test := range []struct {
		link Link
		want string
	}{
		{Link{Name: "flannel.ipip", MTU: 1480, Up: true, Tunnel: Tunnel{Local: inet}}, "link flannel.ipip ipip local 192.0.2.1 mtu 1480 up"},
		{Link{Name: "flannel.ipip", MTU: 1480, Tunnel: Tunnel{Local: inet, Parent: "eth0"}}, "link flannel.ipip ipip local 192.0.2.1 dev eth0 mtu 1480"},
		{Link{Name: "flannel-v6.ipip", MTU: 1460, Tunnel: Tunnel{Local: netip.IPv6Unspecified()}},
			"link flannel-v6.ipip ip6tnl mode ip6ip6 external mtu 1460"},
		{Link{Name: "flannel-wg", MTU: 1420, WireGuard: WireGuard{PrivateKey: Key{7}, Port: 51820}}, "link flannel-wg wireguard listen-port 51820 mtu 1420"},
		{Link{Name: "flannel-wg", MTU: 1420, WireGuard: WireGuard{Port: 51820, Mark: 0x4000}},
			"link flannel-wg wireguard listen-port 51820 fwmark 0x4000 mtu 1420"},
		{Link{Name: "flannel0", MTU: 1472, TUN: true}, "link flannel0 tun mode tun mtu 1472"},
		{Link{Name: "flannel.esp", MTU: 1443, XFRM: XFRM{ID: 87}}, "link flannel.esp xfrm if_id 87 mtu 1443"},
		{Link{Name: "flannel0", MTU: 1472}, "link flannel0 mtu 1472"},
	} {
		if got := test.link.String(); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

// Whatever somebody does to print a key, alone or in what holds it, it is not seen.
func TestKeyShowsNothing(t *testing.T) {
	key := Key([]byte("abcdefghijklmnopqrstuvwxyz012345"))
	link := Link{Name: "flannel-wg", WireGuard: WireGuard{PrivateKey: key, Port: 1}}
	var text strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&text, verb+verb+verb, key, link.WireGuard, struct{ Link Link }{link})
	}
	encoded, err := json.Marshal(link)
	if err != nil {
		t.Fatal(err)
	}
	text.Write(encoded)
	for _, secret := range []string{"abcdef", "YWJjZGVm", "616263", "97 98", "97,98", "0x61"} {
		if strings.Contains(text.String(), secret) {
			t.Errorf("%q is in %s", secret, &text)
		}
	}
	if n := strings.Count(text.String(), "(secret)"); n < 10 {
		t.Errorf("only %d keys were printed at all: %s", n, &text)
	}
}

// What encode appends, parse reads back.
func TestKindsComeBackAsEncoded(t *testing.T) {
	all := devices{2: {index: 2, name: "eth0"}}
	for _, want := range []Link{
		{VXLAN: VXLAN{VNI: 1, Port: 8472, Local: inet, Parent: "eth0", Learning: true, GBP: true}},
		{VXLAN: VXLAN{VNI: 9, Port: 4789, Local: inet6, Parent: "eth0"}},
		{Tunnel: Tunnel{Local: inet, Parent: "eth0"}},
		{Tunnel: Tunnel{Local: inet}},
		{Tunnel: Tunnel{Local: netip.IPv6Unspecified()}},
	} {
		var w writer
		w.begin(unix.RTM_NEWLINK, 0)
		w.raw(make([]byte, sizeLink)...)
		w.u32(unix.IFLA_MTU, 1400)
		encodeKind(&w, want, all.index(want.parent()), true)
		w.end(1, 0)
		d, ok := parseDevice(w.b[sizeHeader:])
		want.MTU = 1400
		if got := d.link(all); !ok || got != want {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
}

// A tunnel that is not for many ends, or carries something else, is not what we make; only a new one can be.
func TestOddTunnels(t *testing.T) {
	remote, other := inet.As4(), []byte{unix.IPPROTO_MPLS}
	for name, test := range map[string]struct {
		kind string
		data func(w *writer)
		odd  bool
	}{
		"plain":           {"ipip", func(w *writer) { w.u8(iptunProto, unix.IPPROTO_IPIP) }, false},
		"any remote":      {"ipip", func(w *writer) { w.addr(iptunRemote, netip.IPv4Unspecified()) }, false},
		"remote":          {"ipip", func(w *writer) { w.attr(iptunRemote, remote[:]) }, true},
		"MPLS":            {"ipip", func(w *writer) { w.attr(iptunProto, other) }, true},
		"by metadata":     {"ipip", func(w *writer) { w.attr(iptunCollectMetadata, nil) }, true},
		"any protocol":    {"ipip", func(w *writer) { w.u8(iptunProto, 0) }, false},
		"told by routes":  {"ip6tnl", func(w *writer) { w.attr(iptunCollectMetadata, nil) }, false},
		"two ends":        {"ip6tnl", func(w *writer) { w.addr(iptunLocal, inet6) }, true},
		"IPv4 inside":     {"ip6tnl", func(w *writer) { w.attr(iptunCollectMetadata, nil); w.u8(iptunProto, unix.IPPROTO_IPIP) }, true},
		"TUN that stays":  {"tun", func(w *writer) { w.u8(unix.IFLA_TUN_TYPE, unix.IFF_TUN); w.u8(unix.IFLA_TUN_PERSIST, 1) }, false},
		"TUN that goes":   {"tun", func(w *writer) { w.u8(unix.IFLA_TUN_TYPE, unix.IFF_TUN); w.u8(unix.IFLA_TUN_PERSIST, 0) }, true},
		"TAP":             {"tun", func(w *writer) { w.u8(unix.IFLA_TUN_TYPE, unix.IFF_TAP); w.u8(unix.IFLA_TUN_PERSIST, 1) }, true},
		"TUN, cut answer": {"tun", func(w *writer) { w.attr(unix.IFLA_TUN_TYPE, nil) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var w writer
			w.begin(unix.RTM_NEWLINK, 0)
			w.raw(make([]byte, sizeLink)...)
			w.u32(unix.IFLA_MTU, 1400)
			info := w.nest(unix.IFLA_LINKINFO)
			w.text(unix.IFLA_INFO_KIND, test.kind)
			data := w.nest(unix.IFLA_INFO_DATA)
			test.data(&w)
			w.unnest(data)
			w.unnest(info)
			w.end(1, 0)
			d, _ := parseDevice(w.b[sizeHeader:])
			if d.odd != test.odd {
				t.Errorf("odd is %v", d.odd)
			}
			if is := d.link(nil).ofKind() == (Link{}); is != test.odd {
				t.Errorf("as a Link it is %v", d.link(nil))
			}
		})
	}
}

// A kernel that does not know a kind is told from one that refuses a property of it, and the error says what to do.
func TestKindThatTheKernelLacks(t *testing.T) {
	for _, test := range []struct {
		kind string
		err  error
		want string // "" for a refusal of something else
	}{
		{"ipip", &Refusal{Errno: unix.EOPNOTSUPP, Text: "Unknown device type"}, "the kernel has no ipip; load the module with modprobe ipip, or install the package"},
		{"ip6tnl", &Refusal{Errno: unix.EOPNOTSUPP}, "modprobe ip6_tunnel"},
		{"wireguard", &Refusal{Errno: unix.EOPNOTSUPP}, "since 5.6"},
		{"tun", &os.PathError{Op: "open", Path: tunFile, Err: unix.ENOENT}, "open /dev/net/tun: no such file or directory: the kernel has no tun"},
		{"tun", &os.PathError{Op: "open", Path: tunFile, Err: unix.EPERM}, ""},
		{"vxlan", &Refusal{Errno: unix.EOPNOTSUPP, Text: "IPv6 support not enabled"}, ""},
		{"vxlan", &Refusal{Errno: unix.EEXIST}, ""},
	} {
		if is := isUnknownKind(test.err); is != (test.want != "") {
			t.Errorf("isUnknownKind(%v) = %v", test.err, is)
		} else if text := kindNamed(test.kind).lacking(test.err).Error(); !strings.Contains(text, test.want) {
			t.Errorf("%q lacks %q", text, test.want)
		}
	}
}
