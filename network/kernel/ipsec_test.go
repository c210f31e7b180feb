package kernel

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// policyMessage is what the kernel says of a policy.
func policyMessage(dst, src netip.Prefix, dir Direction, id uint32) []byte {
	b := make([]byte, sizePolicy)
	copy(b, dst.Addr().AsSlice())
	copy(b[atSelectorSrc:], src.Addr().AsSlice())
	family := uint16(unix.AF_INET)
	if dst.Addr().Is6() {
		family = unix.AF_INET6
	}
	binary.NativeEndian.PutUint16(b[atSelectorKind:], family)
	b[atSelectorDst], b[atSelectorDst+1], b[atDirection] = byte(dst.Bits()), byte(src.Bits()), byte(dir)
	var w writer
	w.u32(xfrmAttrIfID, id)
	return append(b, w.b...)
}

func TestParsePolicy(t *testing.T) {
	inet := [2]netip.Prefix{netip.MustParsePrefix("10.5.2.0/24"), netip.MustParsePrefix("10.5.1.0/24")}
	inet6 := [2]netip.Prefix{netip.MustParsePrefix("fd00:5:0:2::/64"), netip.MustParsePrefix("fd00:5:0:1::/64")}
	odd := policyMessage(inet[0], inet[1], Out, 87)
	odd[atSelectorDst] = 33
	for _, test := range []struct {
		name string
		b    []byte
		want Policy
		ok   bool
	}{
		{"IPv4", policyMessage(inet[0], inet[1], Out, 87), Policy{87, Out, inet[1], inet[0]}, true},
		{"IPv6", policyMessage(inet6[0], inet6[1], Through, 88), Policy{88, Through, inet6[1], inet6[0]}, true},
		{"of a socket", policyMessage(inet[0], inet[1], 4, 87), Policy{}, false},
		{"of no device", policyMessage(inet[0], inet[1], In, 0), Policy{}, false},
		{"cut off", policyMessage(inet[0], inet[1], In, 87)[:sizePolicy-1], Policy{}, false},
		{"nothing", nil, Policy{}, false},
		{"a prefix that cannot be", odd, Policy{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := parsePolicy(test.b); ok != test.ok || ok && got != test.want {
				t.Errorf("%s is %v, %t, want %v", hex.EncodeToString(test.b), got, ok, test.want)
			}
		})
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(policyMessage(netip.MustParsePrefix("10.5.2.0/24"), netip.MustParsePrefix("10.5.1.0/24"), Out, 87))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parsePolicy(b); ok && (!p.Src.IsValid() || !p.Dst.IsValid() || p.ID == 0 || p.Dir > Through) {
			t.Errorf("taken for one: %v", p)
		}
	})
}
