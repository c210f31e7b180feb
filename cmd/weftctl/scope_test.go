package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// Routes of flannel's are recognized in every network that the saved config or the subnet file knows.
func TestCleanupKnowsFurtherNetworks(t *testing.T) {
	dir := t.TempDir()
	c := cleanup{stateDir: dir, subnetFile: filepath.Join(dir, "subnet.env")}
	saved := subnet.Saved{
		Config: `{"Network": "10.5.0.0/16", "Networks": [{"Network": "10.6.0.0/16"}, {"Network": "10.8.0.0/20", "SubnetLen": 26}]}`,
		Own:    subnet.Lease{Subnets: subnet.Subnets{netip.MustParsePrefix("10.5.1.0/24")}, Attrs: subnet.Attrs{Node: "n", Backend: "host-gw"}},
	}
	if _, err := saved.Save(c.saved()); err != nil {
		t.Fatal(err)
	}
	env := "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\nWEFT_NETWORKS=10.6.0.0/16,10.9.0.0/16,fd00:9::/56\n"
	if err := os.WriteFile(c.subnetFile, []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	s, notes, err := c.scope()
	if err != nil || len(notes) > 0 {
		t.Fatalf("scope: %v %q", err, notes)
	}
	if diff := cmp.Diff("[{10.5.0.0/16 24} {10.6.0.0/16 24} {10.8.0.0/20 26} {10.9.0.0/16 24}]", fmt.Sprint(s.Networks)); diff != "" {
		t.Errorf("networks (-want +got):\n%s", diff)
	}
}
