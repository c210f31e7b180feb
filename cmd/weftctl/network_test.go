package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/masq"
)

var blueMark = kernel.Mark{Name: "blue", Number: 1}

// weaveBlue puts into the node what weftd with the network blue would, beside what it does for the first one.
func (n node) weaveBlue() {
	n.Helper()
	var s kernel.State
	link := tunnel
	link.Name, link.VXLAN.VNI = "blue.2", 2
	s.Links.Add(link)
	s.Addrs.Add(kernel.Addr{Link: "blue.2", Prefix: netip.MustParsePrefix("10.105.1.0/32")})
	s.Routes.Add(kernel.Route{Dst: netip.MustParsePrefix("10.105.1.0/24"), Type: kernel.Unreachable})
	k := n.open(blueMark)
	defer k.Close()
	if err := k.Apply(n.Context(), kernel.Change{Put: s}); err != nil {
		n.Fatal(err)
	}
	_, err := masq.NewNFTables("blue").Sync(n.Context(), masq.Config{Masquerade: [2]bool{true},
		Networks: [2]netip.Prefix{netip.MustParsePrefix("10.105.0.0/16")}, Subnets: [2]netip.Prefix{netip.MustParsePrefix("10.105.1.0/24")}})
	if err != nil {
		n.Fatal(err)
	}
	n.write("run/blue.env", "FLANNEL_NETWORK=10.105.0.0/16\n")
	n.write("run/blue/udp.sock", "")
	n.write("lib/blue/leases.json", "{}")
	n.write("net.d/20-blue.conf", `{"name":"blue-net","type":"weft","network":"blue"}`)
	n.write("cni/networks/blue-net/10.105.1.2", "")
	n.write("net.d/10-weft.conflist", `{"name":"cbr0","plugins":[{"type":"weft"}]}`)
	n.write("cni/flannel/pod", "{}")
}

func (n node) open(m kernel.Mark) *kernel.Kernel {
	n.Helper()
	k, err := kernel.OpenAs(m, kernel.SysctlDir)
	if err != nil {
		n.Fatal(err)
	}
	return k
}

// has is what the kernel holds of a network.
func (n node) has(m kernel.Mark) string {
	n.Helper()
	k := n.open(m)
	defer k.Close()
	s, err := k.List(n.Context(), kernel.Scope{}, nil)
	if err != nil {
		n.Fatal(err)
	}
	return s.String()
}

// TestCleanupOfOneNetwork holds that a network is taken off a node with all that is its own and nothing else, and so is the first one.
func TestCleanupOfOneNetwork(t *testing.T) {
	n := newNode(t)
	n.weave()
	n.weaveBlue()
	first, blue := n.has(kernel.Mark{}), n.has(blueMark)
	firstRules := n.command("nft", "list", "table", "inet", "weft")
	ofBlue := []string{"--network=blue=1", "--subnet-file", n.path("run/blue.env")}
	link := tunnel
	link.Name, link.VXLAN.VNI = "blue.2", 2
	want := []string{
		link.String() + ", with 1 addresses, routes, neighbours and other entries",
		"route unreachable 10.105.1.0/24 proto 88",
		"nftables table inet weft-blue",
		"file run/blue.env",
		"folder lib/blue",
		"folder run/blue",
		"CNI configuration net.d/20-blue.conf",
		"records of pods' addresses cni/networks/blue-net",
	}
	output, code := n.cleanup(append(ofBlue, "--cni")...)
	if diff := cmp.Diff("removed "+strings.Join(want, "\nremoved ")+"\n", output); diff != "" || code != 0 {
		t.Errorf("cleanup of blue: exit %d, -want +got:\n%s", code, diff)
	}
	if output, code := n.cleanup(ofBlue...); output != "nothing of network blue is on this host\n" || code != 0 {
		t.Errorf("again: exit %d, %s", code, output)
	}
	if diff := cmp.Diff(first, n.has(kernel.Mark{})) + cmp.Diff(firstRules, n.command("nft", "list", "table", "inet", "weft")); diff != "" {
		t.Errorf("the first network was changed:\n%s", diff)
	}
	for _, path := range []string{"run/subnet.env", "lib/leases.json", "net.d/10-weft.conflist", "cni/flannel/pod"} {
		if _, err := os.Stat(n.path(path)); err != nil {
			t.Errorf("of the first network: %v", err)
		}
	}

	n.weaveBlue()
	if output, code := n.cleanup("--cni"); code != 0 || strings.Contains(output, "blue") {
		t.Errorf("cleanup of the first network: exit %d\n%s", code, output)
	}
	if diff := cmp.Diff(blue, n.has(blueMark)); diff != "" || n.has(kernel.Mark{}) != "" {
		t.Errorf("blue was changed, or the first network is there still:\n%s%s", diff, n.has(kernel.Mark{}))
	}
	if output, code := n.cleanup(ofBlue...); code != 0 {
		t.Errorf("exit %d\n%s", code, output)
	}
}

// A network that weftd serves at the moment is asked for by its name.
func TestServedNetworkIsKnown(t *testing.T) {
	socket, _ := agent(t, 200, `{"node":"a","networks":[{"network":"red"},{"network":"blue"}]}`)
	for name, want := range map[string]bool{"blue": true, "green": false} {
		c := cleanup{socket: socket, mark: kernel.Mark{Name: name, Number: 1}}
		if got, err := c.isServed(t.Context()); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestCleanupNamesMistakes(t *testing.T) {
	for flag, want := range map[string]string{
		"--network=blue":     "such as blue=1",
		"--network=Blue=1":   `name "Blue" is not`,
		"--network=blue=77":  "number 77 is not between 1 and 8",
		"--network==0":       "such as blue=1",
		"--network=subnet=1": "files of the first",
	} {
		if _, stderr, code := weftctl(t, "cleanup", flag); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %s", flag, code, stderr)
		}
	}
}

// TestNetworksOwnPlaces holds where a network's files and bridge are that no flag names.
func TestNetworksOwnPlaces(t *testing.T) {
	c := cleanup{network: "blue=1", subnetFile: "/run/flannel/subnet.env", stateDir: "/var/lib/weft", socket: "/run/weft/weftd.sock", bridge: "cni0"}
	if err := c.choose(func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	want := [4]string{"/run/flannel/blue.env", "/var/lib/weft/blue", "/run/weft/blue", "cni-blue"}
	if got := [4]string{c.subnetFile, c.stateDir, c.runDir(), c.bridge}; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
