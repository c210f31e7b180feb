package etcd

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"github.com/weft-network/weft/subnet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// compare takes leases as the whole values that they are.
var compare = cmpopts.EquateComparable(subnet.Lease{}, subnet.Subnets{}, subnet.Attrs{}, netip.Prefix{}, netip.Addr{})

func TestKey(t *testing.T) {
	for _, tt := range []struct {
		key, want string // want: as it is written, if that differs
		subnets   subnet.Subnets
	}{
		{key: "10.5.52.0-24", subnets: parseSubnets("10.5.52.0/24")},
		{key: "10.5.52.0-24&fd00:5::-64", subnets: parseSubnets("10.5.52.0/24", "fd00:5::/64")},
		{key: "10.5.52.0-24&fd00:5:0:1::-64", subnets: parseSubnets("10.5.52.0/24", "fd00:5:0:1::/64")},
		{key: "10.5.52.0-24&fd00:5:0:0::-64", want: "10.5.52.0-24&fd00:5::-64", subnets: parseSubnets("10.5.52.0/24", "fd00:5::/64")},
		{key: "10.5.52.0-24&FD00:0005::-64", want: "10.5.52.0-24&fd00:5::-64", subnets: parseSubnets("10.5.52.0/24", "fd00:5::/64")},
		{key: "fd00:5::-64", subnets: parseSubnets("fd00:5::/64")},
		{key: "10.5.52.8-30", subnets: parseSubnets("10.5.52.8/30")},
	} {
		got, err := parseKey(tt.key)
		if err != nil || got != tt.subnets {
			t.Errorf("parseKey(%q) = %v, %v: want %v", tt.key, got, err, tt.subnets)
		}
		if tt.want == "" {
			tt.want = tt.key
		}
		if got := formatKey(tt.subnets); got != tt.want {
			t.Errorf("formatKey(%v) = %q: want %q", tt.subnets, got, tt.want)
		}
	}
}

// TestKeyAsNetIP compares the spelling with that of net.IP, which is flannel's.
func TestKeyAsNetIP(t *testing.T) {
	for _, text := range []string{"10.5.0.0/24", "fd00:5::/64", "fd00:5:0:1::/64", "fd00:0:0:1::/64", "fd00:0:1::/64", "2001:db8:0:0:1::/80"} {
		p := netip.MustParsePrefix(text)
		_, n, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		ones, _ := n.Mask.Size()
		want := fmt.Sprintf("%s-%d", n.IP, ones)
		if got := formatKey(subnet.Subnets{p}); got != want {
			t.Errorf("formatKey(%s) = %q: net.IP has %q", p, got, want)
		}
	}
}

func TestKeyWrong(t *testing.T) {
	for key, want := range map[string]string{
		"":                          "is not a subnet",
		"-":                         "is not the address of a subnet",
		"nonsense":                  "is not a subnet",
		"10.5.52.0":                 "is not a subnet",
		"10.5.300.0-24":             "is not the address of a subnet",
		"10.5.52.0-33":              "is not the length of an IPv4 subnet: want 8 to 32",
		"10.5.52.0-+24":             "is not the length",
		"10.5.52.0--1":              "is not the length",
		"0.0.0.0-0":                 "is not the length",
		"::-0":                      "is not the length of an IPv6 subnet: want 16 to 128",
		"10.5.52.1-24":              "has bits set past its length: want 10.5.52.0/24",
		"10.5.52.0-24&":             "is not a subnet",
		"10.5.52.0-24&10.5.53.0-24": "after the & must be IPv6",
		"fd00:5::-64&10.5.52.0-24":  "before the & must be IPv4",
		"fe80::%eth0-64":            "is not the address of a subnet",
		"::ffff:10.5.52.0-120":      "is not the address of a subnet",
		"10.5.52.0-24/more":         "is not the length",
	} {
		if s, err := parseKey(key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseKey(%q) = %v, %v: want an error with %q", key, s, err, want)
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, key := range []string{"10.5.52.0-24", "10.5.52.0-24&fd00:5::-64", "fd00:5::-64", "-", "&", "10.5.52.0-24&", "::ffff:1.2.3.4-128"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		s, err := parseKey(key)
		if err != nil {
			return
		}
		again, err := parseKey(formatKey(s))
		if err != nil || again != s {
			t.Errorf("%q is %v, which is written as %q, which is %v, %v", key, s, formatKey(s), again, err)
		}
	})
}

// TestValues compares the values of testdata, as flanneld and others write them, with what is read, and with what is
// written for that.
func TestValues(t *testing.T) {
	const file = "testdata/values.txtar"
	golden, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := newDecoder()
	var got txtar.Archive
	got.Comment = golden.Comment
	for i := 0; i+1 < len(golden.Files); i += 2 {
		in := golden.Files[i]
		text := showValue(d, strings.TrimSuffix(string(in.Data), "\n"))
		got.Files = append(got.Files, in, txtar.File{Name: in.Name + " is read as", Data: []byte(text)})
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(&got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(txtar.Format(golden)), string(txtar.Format(&got))); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func showValue(d *decoder, text string) string {
	a, err := d.value([]byte(text))
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	out := fmt.Sprintf("node %q\nbackend %q\n", a.Node, a.Backend)
	for _, f := range subnet.Families {
		out += fmt.Sprintf("%s %s %s\n", f, a.PublicIP[f], a.Data[f])
	}
	written, err := encodeValue(a)
	if err != nil {
		return out + "error: " + err.Error() + "\n"
	}
	return out + "written as " + written + "\n"
}

func TestEncodeWrong(t *testing.T) {
	if text, err := encodeValue(subnet.Attrs{Node: "n", Data: [2]string{`{"VNI":`}}); err == nil {
		t.Errorf("data that is not JSON was written as %s", text)
	}
}

// FuzzValue compares the fast reader with encoding/json, and what is written with what is read.
func FuzzValue(f *testing.F) {
	golden, err := txtar.ParseFile("testdata/values.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for i := 0; i < len(golden.Files); i += 2 {
		f.Add(golden.Files[i].Data)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d := newDecoder()
		if fast, ok := scan(text); ok {
			var w wire
			if err := json.Unmarshal(text, &w); err != nil {
				t.Fatalf("%q was read, and encoding/json says %v", text, err)
			}
			got, gotErr := d.attrs(fast)
			want, wantErr := d.attrs(w.fields())
			if got != want || (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("%q was read as %v, %v: encoding/json reads %v, %v", text, got, gotErr, want, wantErr)
			}
		}
		a, err := d.value(text)
		if err != nil {
			return
		}
		written, err := encodeValue(a)
		if err != nil {
			t.Fatalf("%q is %v, which cannot be written: %v", text, a, err)
		}
		again, err := d.value([]byte(written))
		if err != nil {
			t.Fatalf("%q is %v, which is written as %s, which cannot be read: %v", text, a, written, err)
		}
		once, _ := encodeValue(again)
		if once != written || again.PublicIP != a.PublicIP {
			t.Errorf("%q is written as %s and then as %s", text, written, once)
		}
	})
}
