package subnet_test

import (
	"testing"

	"github.com/weft-network/weft/subnet"
)

func TestNearest(t *testing.T) {
	known := []string{"VNI", "Port", "MTU", "DirectRouting"}
	for word, want := range map[string]string{
		"DirectRoutng":    "DirectRouting",
		"direct_routing":  "DirectRouting",
		"DirectRoutings":  "DirectRouting",
		"port":            "Port",
		"Prot":            "Port",
		"VNID":            "VNI",
		"MUT":             "MTU",
		"":                "",
		"SomethingElse":   "",
		"ESPProposal":     "",
		"PersistentAlive": "",
	} {
		if got := subnet.Nearest(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
