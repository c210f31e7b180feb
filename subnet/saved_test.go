package subnet_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weft-network/weft/subnet"
)

// lease is that of a node with this number, in a dual-stack cluster.
func lease(number int) subnet.Lease {
	return subnet.Lease{
		Subnets: subnets(fmt.Sprintf("10.%d.%d.0/24", 5+number>>8, number&0xff), fmt.Sprintf("fd00:5:0:%x::/64", number)),
		Attrs: subnet.Attrs{
			Node:     fmt.Sprint("node-", number),
			PublicIP: [2]netip.Addr{netip.AddrFrom4([4]byte{192, 168, byte(number >> 8), byte(number)})},
			Backend:  "vxlan",
			Data:     [2]string{fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:%02x:%02x"}`, number>>8, number&0xff)},
			MTU:      1400 + number,
		},
	}
}

// pictures are some that have to come back as they were.
func pictures() map[string]subnet.Saved {
	odd := lease(7)
	odd.Node = "a \"node\" \\ with\n\t\r\x01 everything: ü 漢 \u2028 <&>"
	odd.PublicIP[subnet.Inet6] = netip.MustParseAddr("2001:db8::7")
	odd.Data = [2]string{"", `{"a":"\"","b":"\u00e9"}`}
	odd.Ways = `[{"Type":"vxlan","Agreed":"\u003c"},{"Type":"host-gw"}]`
	six := lease(8)
	six.Subnets[subnet.Inet], six.PublicIP[subnet.Inet] = netip.Prefix{}, netip.Addr{}
	flanneld := subnet.Lease{Subnets: subnets("10.5.52.0/24"), Attrs: subnet.Attrs{Backend: "host-gw"}}
	return map[string]subnet.Saved{
		"empty":         {},
		"only a config": {Config: "{\n\t\"Network\": \"10.5.0.0/16\"\n}\n"},
		"own":           {Config: "{}", Own: lease(1)},
		"self": {Config: "{}", Own: lease(1), Self: subnet.Self{Assigned: subnets("10.5.1.0/26"),
			Uplink: [2]subnet.Hint{{Addr: netip.MustParseAddr("192.168.0.1"), Origin: "the Node's \"InternalIP\""}}}},
		"peers": {Config: "{}", Own: lease(1), Peers: []subnet.Lease{lease(2), lease(3), odd, six, flanneld}},
	}
}

func TestSaved(t *testing.T) {
	byKey := cmpopts.SortSlices(func(a, b subnet.Lease) bool { return a.Subnets.Compare(b.Subnets) < 0 })
	compare := cmp.Options{byKey, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}
	for name, want := range pictures() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "weft", "leases.json")
			if _, err := subnet.LoadSaved(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
				t.Errorf("LoadSaved without a file returned %v: want fs.ErrNotExist with the path", err)
			}
			if changed, err := want.Save(path); !changed || err != nil {
				t.Fatalf("Save returned %t, %v", changed, err)
			}
			got, err := subnet.LoadSaved(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compare); diff != "" {
				t.Errorf("(-saved +loaded):\n%s", diff)
			}
			if !slices.IsSortedFunc(got.Peers, func(a, b subnet.Lease) int { return a.Subnets.Compare(b.Subnets) }) {
				t.Errorf("the peers are not in order: %v", got.Peers)
			}
			slices.Reverse(want.Peers)
			if changed, err := want.Save(path); changed || err != nil {
				t.Errorf("Save in another order returned %t, %v: want no change", changed, err)
			}
		})
	}
}

// TestSavedReplaces leaves the order that it was given alone, and sees a change of one byte.
func TestSavedReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.json")
	s := subnet.Saved{Peers: []subnet.Lease{lease(3), lease(2)}}
	if _, err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	if s.Peers[0] != lease(3) {
		t.Error("Save sorts what belongs to its caller")
	}
	s.Peers[1].Data[subnet.Inet] = strings.Replace(s.Peers[1].Data[subnet.Inet], "02", "03", 1)
	if changed, err := s.Save(path); !changed || err != nil {
		t.Errorf("Save of other data returned %t, %v", changed, err)
	}
	got, err := subnet.LoadSaved(path)
	if err != nil || !slices.Contains(got.Peers, s.Peers[1]) {
		t.Errorf("LoadSaved returned %v, %v", got, err)
	}
}

// TestSavedIsText repairs what no JSON can hold, rather than write what cannot be read.
func TestSavedIsText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.json")
	if _, err := (subnet.Saved{Config: "a\xffb"}).Save(path); err != nil {
		t.Fatal(err)
	}
	if got, err := subnet.LoadSaved(path); err != nil || got.Config != "a\uFFFDb" {
		t.Errorf("LoadSaved returned %q, %v", got.Config, err)
	}
}

func TestSavedDamaged(t *testing.T) {
	const one = `{"Subnets":["10.5.1.0/24",""],"Backend":"vxlan"}`
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "damaged: unexpected end of JSON input"},
		{"cut off", `{"Version":1,"Config":"{}","Peers":[` + one, "damaged: unexpected end of JSON input"},
		{"other text", "FLANNEL_MTU=1450", "damaged: invalid character 'F'"},
		{"not text", "\x00\xff", "damaged: it is not text"},
		{"no version", `{}`, "it is of version 0: want 1"},
		{"newer, of another form", `{"Version":2,"Peers":{}}`, "it is of version 2: want 1"},
		{"wrong type", `{"Version":1,"Config":5}`, "damaged: json: cannot unmarshal number"},
		{"no subnet", `{"Version":1,"Peers":[{"Backend":"vxlan"}]}`, "damaged: lease 1: no subnet"},
		{"nonsense for a subnet", `{"Version":1,"Peers":[{"Subnets":["here"]}]}`, "damaged: "},
		{"host bits", `{"Version":1,"Peers":[` + one + `,{"Subnets":["10.5.2.1/24"]}]}`, "damaged: lease 2: 10.5.2.1/24 is no IPv4 subnet"},
		{"wrong family", `{"Version":1,"Own":{"Subnets":["","10.5.1.0/24"]}}`, "damaged: own lease: 10.5.1.0/24 is no IPv6 subnet"},
		{"wrong address", `{"Version":1,"Own":{"Subnets":["10.5.1.0/24"],"PublicIP":["2001:db8::1"]}}`, "damaged: own lease: 2001:db8::1 is no IPv4 address"},
		{"zone", `{"Version":1,"Own":{"Subnets":["10.5.1.0/24"],"PublicIP":["","fe80::1%eth0"]}}`, "damaged: own lease: fe80::1%eth0 is no IPv6 address"},
		{"two of one", `{"Version":1,"Peers":[` + one + `,` + one + `]}`, "damaged: two leases of 10.5.1.0/24"},
		{"own among peers", `{"Version":1,"Own":` + one + `,"Peers":[` + one + `]}`, "damaged: two leases of 10.5.1.0/24"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "leases.json")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := subnet.LoadSaved(path)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("LoadSaved returned %v: want the path and %q", err, tt.want)
			}
			if diff := cmp.Diff(subnet.Saved{}, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Errorf("beside an error there is a picture:\n%s", diff)
			}
		})
	}
}

// FuzzSaved reads anything, and what is read is written and read as the same again.
func FuzzSaved(f *testing.F) {
	for _, s := range pictures() {
		f.Add(subnet.EncodeSaved(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := subnet.ParseSaved(text)
		if err != nil {
			return
		}
		again, err := subnet.ParseSaved(subnet.EncodeSaved(s))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(s, again, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

// BenchmarkSave writes 5,000 leases of which one changes each time.
func BenchmarkSave(b *testing.B) {
	path := filepath.Join(b.TempDir(), "leases.json")
	s := subnet.Saved{Config: "{}", Own: lease(0)}
	for n := range 5000 {
		s.Peers = append(s.Peers, lease(n+1))
	}
	for n := 0; b.Loop(); n++ {
		s.Peers[0].Node = fmt.Sprint(n)
		if _, err := s.Save(path); err != nil {
			b.Fatal(err)
		}
	}
}
