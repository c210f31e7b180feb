package backend_test

import (
	"strings"
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/hostgw"
	"github.com/weft-network/weft/backend/vxlan"
	"github.com/weft-network/weft/subnet"
)

// TestRouteMTU looks at what routes to peers with other uplinks are held to.
func TestRouteMTU(t *testing.T) {
	tunnel, _, err := vxlan.New("{}")
	if err != nil {
		t.Fatal(err)
	}
	small, _, err := vxlan.New(`{"MTU":1400}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		b    backend.Backend
		peer int
		want [2]int
	}{
		{"not said", tunnel, 0, [2]int{}},
		{"larger", tunnel, 9000, [2]int{}},
		{"the same as one", tunnel, 1500, [2]int{0, 1430}},
		{"smaller", tunnel, 1400, [2]int{1350, 1330}},
		{"too small for IPv6", tunnel, 1300, [2]int{1250, 1280}},
		{"without overhead", hostgw.Backend{}, 1400, [2]int{1400, 1400}},
		{"the config says as much", small, 1400, [2]int{}},
		{"smaller than the config", small, 1380, [2]int{1330, 1310}},
		{"smaller than the overhead", tunnel, 50, [2]int{0, 1280}},
	} {
		n := dual()
		var got [2]int
		for _, f := range subnet.Families {
			got[f] = n.RouteMTU(f, &subnet.Lease{Attrs: subnet.Attrs{MTU: test.peer}}, test.b.MTU)
		}
		if got != test.want {
			t.Errorf("%s: routes are held to %v, want %v", test.name, got, test.want)
		}
	}
}

func TestAnnounceMTU(t *testing.T) {
	n := dual()
	a, err := n.Announce("vxlan")
	if err != nil || a.MTU != 1500 {
		t.Errorf("announced %d, %v, want the smaller uplink's 1500", a.MTU, err)
	}
	n.Networks[subnet.Inet] = subnet.Network{}
	if a, err = n.Announce("vxlan"); err != nil || a.MTU != 1510 {
		t.Errorf("announced %d, %v, want that of the only uplink in use, 1510", a.MTU, err)
	}
}

// TestCheckMTU looks at configs whose MTU no pod could work with, and at those beside them.
func TestCheckMTU(t *testing.T) {
	for _, test := range []struct{ name, config, want string }{
		{"IPv4 only", `{"MTU":600}`, ""},
		{"dual", `{}`, ""},
		{"dual", `{"MTU":1500}`, ""},
		{"dual", `{"MTU":1350}`, ""},
		{"dual", `{"MTU":1329}`, "Backend.MTU: 1329 leaves pods 1259 bytes with vxlan over IPv6, and IPv6 works with 1280 at least: 1350 or more is right"},
		{"dual", `{"MTU":1349}`, "Backend.MTU: 1349 leaves pods 1279 bytes with vxlan over IPv6, and IPv6 works with 1280 at least: 1350 or more is right"},
		{"IPv6 only", `{"MTU":1349}`, "1350 or more is right"},
		{"IPv6 only", `{"MTU":1350}`, ""},
	} {
		n := dual()
		switch test.name {
		case "IPv4 only":
			n.Networks[subnet.Inet6] = subnet.Network{}
		case "IPv6 only":
			n.Networks[subnet.Inet] = subnet.Network{}
		}
		b, _, err := vxlan.New(test.config)
		if err != nil {
			t.Fatal(err)
		}
		err = backend.CheckMTU(vxlan.Kind, b, n.Networks)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s %s: %v", test.name, test.config, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s %s: %v, want %q", test.name, test.config, err, test.want)
		}
	}
}
