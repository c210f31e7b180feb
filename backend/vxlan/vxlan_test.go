package vxlan

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

func TestMACIsDerived(t *testing.T) {
	b := Backend{vni: 1}
	n := &backend.Node{Name: "node-a"}
	mac := b.mac(n, subnet.Inet)
	if mac[0]&multicast != 0 || mac[0]&local == 0 {
		t.Errorf("%s is not a unicast address given by software", mac)
	}
	if again := b.mac(n, subnet.Inet); again != mac {
		t.Errorf("%s the second time, %s the first", again, mac)
	}
	others := map[string]kernel.MAC{
		"family":   b.mac(n, subnet.Inet6),
		"VNI":      Backend{vni: 2}.mac(n, subnet.Inet),
		"identity": b.mac(&backend.Node{Name: "node-b"}, subnet.Inet),
	}
	for what, other := range others {
		if other == mac {
			t.Errorf("another %s has the same MAC %s", what, mac)
		}
	}
}

func TestMACIsKept(t *testing.T) {
	b := Backend{vni: 1}
	derived := b.mac(&backend.Node{Name: "node-a"}, subnet.Inet)
	flannel := kernel.MAC{0x0e, 0, 0, 0, 0, 1}
	for _, test := range []struct {
		name          string
		backend, data string
		want          kernel.MAC
	}{
		{"of flannel", Kind, `{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}`, flannel},
		{"of old flannel", Kind, `{"VtepMAC":"0e:00:00:00:00:01"}`, flannel},
		{"no lease", "", "", derived},
		{"no data", Kind, "", derived},
		{"not JSON", Kind, `{`, derived},
		{"not unicast", Kind, `{"VNI":1,"VtepMAC":"ff:ff:ff:ff:ff:ff"}`, derived},
		{"another backend's", "host-gw", `{"VNI":1,"VtepMAC":"0e:00:00:00:00:01"}`, derived},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &backend.Node{Name: "node-a", Kept: subnet.Attrs{Backend: test.backend, Data: [2]string{test.data}}}
			if diff := cmp.Diff(test.want, b.mac(n, subnet.Inet)); diff != "" {
				t.Errorf("MAC (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAttrsRefuseWhatCannotBe(t *testing.T) {
	n := backend.Node{Name: "node-a"}
	n.Networks[subnet.Inet6].Prefix = netip.MustParsePrefix("fd00:5::/56")
	a := netip.MustParseAddr("2001:db8::1")
	n.Uplinks[subnet.Inet6] = backend.Uplink{Link: "eth0", MTU: 1280, Addr: a, Public: a}
	attrs, err := Backend{vni: 1}.Attrs(n)
	if err == nil || !strings.Contains(err.Error(), "must be 1350 or more") {
		t.Errorf("error is %v, want one that says which MTU is needed", err)
	}
	if attrs != (subnet.Attrs{}) {
		t.Errorf("attrs are %+v, want none", attrs)
	}
}

func TestMTU(t *testing.T) {
	inet, inet6 := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("2001:db8::1")
	for _, test := range []struct {
		name       string
		configured int
		uplink     backend.Uplink
		want       int
	}{
		{"IPv4", 0, backend.Uplink{MTU: 1500, Addr: inet}, 1450},
		{"IPv6", 0, backend.Uplink{MTU: 1500, Addr: inet6}, 1430},
		{"jumbo", 0, backend.Uplink{MTU: 9000, Addr: inet}, 8950},
		{"configured", 1400, backend.Uplink{MTU: 9000, Addr: inet6}, 1330},
		{"configured beyond the uplink", 9000, backend.Uplink{MTU: 1500, Addr: inet}, 1450},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := (Backend{mtu: test.configured}).MTU(test.uplink); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func FuzzNew(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", "[]", "{", `{"Type":"vxlan"}`, `{"VNI":1,"Port":8472,"MTU":1500,"GBP":true,"Learning":false,"DirectRouting":true}`,
		`{"vni":16777215,"VNI":0}`, `{"VNI":1.0}`, `{"VNI":1e3}`, `{"VNI":99999999999999999999}`, `{"Port":null}`, `{"":{}}`, "{}{}", `{"\ud800":1}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, config string) {
		b, _, err := New(config)
		if err != nil {
			if b != (Backend{}) {
				t.Errorf("both a backend %+v and the error %v", b, err)
			}
			return
		}
		if b.vni < 1 || b.vni >= 1<<24 || b.port < 1 || b.port > 65535 || b.mtu < 0 || b.mtu > 65535 {
			t.Errorf("accepted %q as %+v", config, b)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", "[]", `{"VNI":1,"VtepMAC":"0e:2a:33:44:55:66"}`, `{"VtepMAC":"0e-2a-33-44-55-66"}`, `{"VNI":-1,"VtepMAC":"0e2a.3344.5566"}`,
		`{"VNI":1,"VtepMAC":null}`, `{"VNI":"1","VtepMAC":"0e:2a:33:44:55:66"}`, `{"vni":1,"vtepmac":"00:00:00:00:00:00"}`, `{"VNI":1,"VtepMAC":"01:00:00:00:00:00"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		v, err := parse(data)
		general, err2 := parseJSON(data)
		if v != general || (err == nil) != (err2 == nil) {
			t.Errorf("%q reads %+v, error %v, and in general %+v, error %v", data, v, err, general, err2)
		}
		if err != nil {
			return
		}
		if v.vni < 0 || v.vni >= 1<<24 || v.mac == (kernel.MAC{}) || v.mac[0]&multicast != 0 {
			t.Errorf("accepted %q as %+v", data, v)
		}
		b := Backend{vni: max(v.vni, 1)}
		again, err := parse(b.data(v.mac))
		if err != nil || again.mac != v.mac || !again.speaks(b.vni) {
			t.Errorf("written again it reads %+v, error %v, want %+v", again, err, v)
		}
	})
}
