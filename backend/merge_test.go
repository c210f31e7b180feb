package backend_test

import (
	"net/netip"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
)

// TestMergeClash holds that of several clashes always the same one is named: another text would be another warning.
func TestMergeClash(t *testing.T) {
	routes := func(link string) (s kernel.State) {
		for _, dst := range []string{"10.5.3.0/24", "10.5.2.0/24", "fd00:5::/64", "10.5.4.0/24"} {
			s.Routes.Add(kernel.Route{Dst: netip.MustParsePrefix(dst), Link: link})
		}
		return s
	}
	s := routes("eth0")
	const want = `"route 10.5.2.0/24 dev eth0 proto 87" is in the way of "route 10.5.2.0/24 dev flannel.1 proto 87"`
	for range 100 {
		if err := backend.Merge(&s, routes("flannel.1")); err == nil || err.Error() != want {
			t.Fatalf("error %v, want %s", err, want)
		}
	}
}
