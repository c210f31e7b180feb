package wire_test

import (
	"strings"
	"testing"

	"github.com/weft-network/weft/backend/backendtest"
	"github.com/weft-network/weft/cmd/internal/wire"
)

func TestGolden(t *testing.T) {
	backendtest.Golden(t, wire.Backend)
}

func TestBackend(t *testing.T) {
	for _, test := range []struct {
		name, kind, config string
		want               string // part of the error; "" for none
	}{
		{"vxlan", "vxlan", `{"Type": "vxlan", "VNI": 5}`, ""},
		{"defaults", "vxlan", "", ""},
		{"host-gw", "host-gw", "{}", ""},
		{"alloc", "alloc", "{}", ""},
		{"bad config", "vxlan", `{"VNI": -1}`, "Backend.VNI: -1 is not a whole number from 1 to 16777215"},
		{"not an object", "alloc", `[]`, `Backend: [] is not a JSON object`},
		{"of a later version", "geneve", "{}", `Backend.Type: "geneve" is not a backend that this version has (vxlan, host-gw, ipip, `},
		{"slip", "hostgw", "{}", "did you mean host-gw?"},
		{"none", "", "{}", `Backend.Type: "" is not`},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, _, err := wire.Backend(test.kind, test.config)
			if test.want == "" {
				if err != nil || b == nil {
					t.Fatalf("got %v and error %v, want a backend", b, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %q, want %q in it", err, test.want)
			}
		})
	}
}
