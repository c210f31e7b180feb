package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCleanupForFlannel puts a node into the state in which it is when flanneld has taken over from weftd.
func TestCleanupForFlannel(t *testing.T) {
	n := newNode(t)
	t.Cleanup(func() { n.cleanup() })
	n.weave()
	n.flannel()
	n.write("net.d/05-weft.conflist", `{"name":"cbr0","plugins":[{"type":"weft"}]}`)
	n.write("cni/networks/cbr0/10.5.1.2", "container")
	see := func() string {
		return n.command("ip", "-br", "addr") + n.command("ip", "route", "show", "type", "unicast") + n.command("bridge", "fdb", "show", "dev", "flannel.1") +
			n.command("ip", "neigh", "show", "dev", "flannel.1") + n.command("nft", "list", "table", "ip", "flannel-ipv4") +
			n.command("ls", n.path("run/subnet.env"), n.path("cni/networks/cbr0/10.5.1.2"))
	}
	before := see()

	// There is nothing yet by which the runtime could do without Weft.
	stays := "note: CNI configuration net.d/05-weft.conflist stays: there is no other in net.d, and without any no pod could start\n"
	things := []string{"route unreachable 10.5.1.0/24 proto 87", "nftables table inet weft", "file run/subnet.env.waiting", "file lib/leases.json", "file run/weftd.sock"}
	for _, step := range []struct {
		name  string
		flags []string
		want  string
	}{
		{"dry run", []string{"--dry-run"}, "would remove " + strings.Join(things, "\nwould remove ") + "\n" + stays},
		{"alone", nil, "removed " + strings.Join(things, "\nremoved ") + "\n" + stays},
		{"again", nil, stays + "nothing that only Weft has a use for is on this host\n"},
		{"with flannel's", nil, "removed CNI configuration net.d/05-weft.conflist\n"},
		{"with flannel's, again", nil, "nothing that only Weft has a use for is on this host\n"},
	} {
		t.Run(step.name, func(t *testing.T) {
			if step.name == "with flannel's" {
				n.write("net.d/10-flannel.conflist", `{"name":"cbr0","plugins":[{"type":"flannel"}]}`)
			}
			output, code := n.cleanup(append(step.flags, "--for-flannel")...)
			if diff := cmp.Diff(step.want, output); diff != "" || code != 0 {
				t.Errorf("exit %d, -want +got:\n%s", code, diff)
			}
			if diff := cmp.Diff(before, see()); diff != "" {
				t.Errorf("what flanneld uses has changed:\n%s", diff)
			}
		})
	}
}

// TestCleanupForAnotherPlugin holds that a configuration that Weft knows nothing of counts as another.
func TestCleanupForAnotherPlugin(t *testing.T) {
	n := newNode(t)
	n.write("net.d/05-weft.conflist", `{"name":"cbr0","plugins":[{"type":"weft"}]}`)
	n.write("net.d/20-other.conflist", `{"name":"other","plugins":[{"type":"bridge"}]}`)
	if output, code := n.cleanup("--for-flannel"); code != 0 || output != "removed CNI configuration net.d/05-weft.conflist\n" {
		t.Errorf("exit %d\n%s", code, output)
	}
	if output, code := n.cleanup("--for-flannel", "--cni"); code != 2 || !strings.Contains(output, "for-flannel") {
		t.Errorf("two flags that contradict each other: exit %d\n%s", code, output)
	}
}
