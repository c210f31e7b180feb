package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/masq"
	"github.com/weft-network/weft/subnet"
)

// node is a host in the namespace of the test, with its files in a folder of the test.
type node struct {
	*testing.T
	dir string
}

// newNode makes an uplink with the address 192.0.2.1/24. What the test leaves is taken away at its end.
func newNode(t *testing.T) node {
	t.Helper()
	uplink := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "uplink0", MTU: 1500}}
	if err := netlink.LinkAdd(uplink); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(uplink) })
	if err := netlink.AddrAdd(uplink, &netlink.Addr{IPNet: ipNet("192.0.2.1/24")}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(uplink); err != nil {
		t.Fatal(err)
	}
	return node{t, t.TempDir()}
}

func ipNet(s string) *net.IPNet {
	p := netip.MustParsePrefix(s)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// path returns where a file of the node is; it makes the folder.
func (n node) path(name string) string {
	n.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		n.Fatal(err)
	}
	return path
}

func (n node) write(name, text string) {
	n.Helper()
	if err := os.WriteFile(n.path(name), []byte(text), 0o644); err != nil {
		n.Fatal(err)
	}
}

// cleanup runs the command on the node and returns what it printed, with the node's folder as "".
func (n node) cleanup(flags ...string) (output string, code int) {
	n.Helper()
	args := append([]string{"cleanup",
		"--subnet-file", n.path("run/subnet.env"), "--state-dir", n.path("lib"), "--socket", n.path("run/weftd.sock"),
		"--cni-config-dir", n.path("net.d"), "--cni-data-dir", n.path("cni/flannel"), "--cni-ipam-dir", n.path("cni/networks"),
		"--cni-bin-dir", n.path("bin"),
	}, flags...)
	stdout, stderr, code := weftctl(n.T, args...)
	return strings.ReplaceAll(stdout+stderr, n.dir+"/", ""), code
}

// apply puts objects into the kernel as weftd would.
func (n node) apply(s kernel.State) {
	n.Helper()
	k, err := kernel.Open()
	if err != nil {
		n.Fatal(err)
	}
	defer k.Close()
	if err := k.Apply(n.Context(), kernel.Change{Put: s}); err != nil {
		n.Fatal(err)
	}
}

// command runs a program and returns its output.
func (n node) command(name string, args ...string) string {
	n.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(n.Context()), name, args...).CombinedOutput()
	if err != nil {
		n.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// tunnel is the device of weave.
var tunnel = kernel.Link{Name: "flannel.1", MAC: kernel.MAC{0x0e, 0, 0, 0, 0, 1}, MTU: 1450, Up: true,
	VXLAN: kernel.VXLAN{VNI: 1, Port: 8472, Local: netip.MustParseAddr("192.0.2.1"), Parent: "uplink0"}}

// weave puts into the node what weftd with one peer would.
func (n node) weave() {
	n.Helper()
	var s kernel.State
	mac := kernel.MAC{0x0e, 0, 0, 0, 0, 2}
	peer := netip.MustParseAddr("10.5.2.0")
	s.Links.Add(tunnel)
	s.Addrs.Add(kernel.Addr{Link: "flannel.1", Prefix: netip.MustParsePrefix("10.5.1.0/32")})
	s.Routes.Add(kernel.Route{Dst: netip.MustParsePrefix("10.5.2.0/24"), Via: peer, Link: "flannel.1", OnLink: true})
	s.Routes.Add(kernel.Route{Dst: netip.MustParsePrefix("10.5.1.0/24"), Type: kernel.Unreachable})
	s.Neighbours.Add(kernel.Neighbour{Link: "flannel.1", IP: peer, MAC: mac})
	s.Forwards.Add(kernel.Forward{Link: "flannel.1", MAC: mac, Dst: netip.MustParseAddr("192.0.2.2")})
	n.apply(s)
	_, err := masq.NewNFTables("").Sync(n.Context(), masq.Config{Forward: true, Masquerade: [2]bool{true},
		Networks: [2]netip.Prefix{netip.MustParsePrefix("10.5.0.0/16")}, Subnets: [2]netip.Prefix{netip.MustParsePrefix("10.5.1.0/24")}})
	if err != nil {
		n.Fatal(err)
	}
	n.write("run/subnet.env", "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n")
	n.write("run/subnet.env.waiting", "1 of 2 peers is not served\n")
	n.write("run/weftd.sock", "") // of an agent that was killed
	n.write("lib/wireguard.key", "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n")
	if _, err := (subnet.Saved{Config: `{"Network":"10.5.0.0/16"}`}).Save(n.path("lib/leases.json")); err != nil {
		n.Fatal(err)
	}
}

// flannel puts into the node what flannel's backends leave behind that have no device of their own, and its rules.
func (n node) flannel() {
	n.Helper()
	n.command("ip", "route", "add", "10.5.9.0/24", "via", "192.0.2.9", "dev", "uplink0")
	n.command("nft", "add table ip flannel-ipv4; add chain ip flannel-ipv4 postrtg")
	if err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "flannel0"}, Mode: netlink.TUNTAP_MODE_TUN}); err != nil {
		n.Fatal(err)
	}
}

// strangers puts into the node what is nobody's business, and returns a function that tells whether all of it is there still.
func (n node) strangers() (still func() string) {
	n.Helper()
	n.command("ip", "route", "add", "10.99.0.0/24", "via", "192.0.2.7", "proto", "static")
	n.command("ip", "route", "add", "10.5.128.0/17", "via", "192.0.2.7")
	n.command("ip", "link", "add", "br-other", "type", "bridge")
	n.command("nft", "add table inet stranger; add chain inet stranger c { type filter hook forward priority 0; }")
	n.Cleanup(func() {
		n.command("nft", "delete", "table", "inet", "stranger")
		n.command("ip", "link", "del", "br-other")
	})
	see := func() string {
		return n.command("ip", "route") + n.command("ip", "-br", "link", "show", "type", "bridge") + n.command("nft", "list", "ruleset")
	}
	before := see()
	return func() string { return cmp.Diff(before, see()) }
}

func TestCleanup(t *testing.T) {
	n := newNode(t)
	still := n.strangers()
	n.weave()
	n.flannel()

	things := []string{
		tunnel.String() + ", with 4 addresses, routes, neighbours and other entries",
		"link flannel0 tun mode tun mtu 1500, with 0 addresses, routes, neighbours and other entries",
		"route 10.5.9.0/24 via 192.0.2.9 dev uplink0 proto boot",
		"route unreachable 10.5.1.0/24 proto 87",
		"nftables table inet weft",
		"nftables table ip flannel-ipv4",
		"file run/subnet.env",
		"file run/subnet.env.waiting",
		"file lib/leases.json",
		"file lib/wireguard.key",
		"file run/weftd.sock",
	}
	before := n.command("ip", "-br", "addr")
	for _, step := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--dry-run"}, "would remove " + strings.Join(things, "\nwould remove ") + "\n"},
		{nil, "removed " + strings.Join(things, "\nremoved ") + "\n"},
		{nil, "note: the cluster's network is not known here any more: routes of flannel's host-gw mode are not recognized without --config\n" +
			"nothing of Weft's or flannel's is on this host\n"},
	} {
		output, code := n.cleanup(step.flags...)
		if diff := cmp.Diff(step.want, output); diff != "" || code != 0 {
			t.Errorf("cleanup %v: exit %d, -want +got:\n%s", step.flags, code, diff)
		}
		if step.flags != nil {
			if diff := cmp.Diff(before, n.command("ip", "-br", "addr")); diff != "" {
				t.Errorf("cleanup %v changed the host:\n%s", step.flags, diff)
			}
		}
	}
	if diff := still(); diff != "" {
		t.Errorf("what is not ours has changed:\n%s", diff)
	}
}

// TestCleanupKnowsNetworks holds that flannel's unmarked routes are found by any of the places that name the network.
func TestCleanupKnowsNetworks(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		flags []string
	}{
		{name: "subnet.env", files: map[string]string{"run/subnet.env": "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"}},
		{name: "--config", files: map[string]string{"net-conf.json": `{"Network":"10.5.0.0/16"}`}, flags: []string{"--config", "net-conf.json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			n.command("ip", "route", "add", "10.5.9.0/24", "via", "192.0.2.9")
			for name, text := range tt.files {
				n.write(name, text)
			}
			if len(tt.flags) > 0 {
				tt.flags[1] = n.path(tt.flags[1])
			}
			output, code := n.cleanup(tt.flags...)
			if code != 0 || !strings.Contains(output, "removed route 10.5.9.0/24") {
				t.Errorf("exit %d:\n%s", code, output)
			}
			if routes := n.command("ip", "route"); strings.Contains(routes, "10.5.9.0") {
				t.Errorf("the route is there still:\n%s", routes)
			}
		})
	}
}

// TestCleanupOfDamage holds that nothing that is broken keeps the rest from being cleaned.
func TestCleanupOfDamage(t *testing.T) {
	n := newNode(t)
	n.weave()
	n.write("run/subnet.env", "FLANNEL_NETWORK=garbage\n")
	n.write("lib/leases.json", "garbage")
	n.write("net.d/10-broken.conflist", "garbage")
	output, code := n.cleanup()
	for _, part := range []string{"note: reading the node's subnet", "note: reading the last known leases", "removed link flannel.1", "removed file run/subnet.env"} {
		if !strings.Contains(output, part) {
			t.Errorf("%q is not in\n%s", part, output)
		}
	}
	if code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
	if output, code := n.cleanup(); code != 0 || !strings.HasSuffix(output, "nothing of Weft's or flannel's is on this host\n") {
		t.Errorf("second time: exit %d\n%s", code, output)
	}
}

func TestCleanupOfCNI(t *testing.T) {
	n := newNode(t)
	n.command("ip", "link", "add", "cni0", "type", "bridge")
	n.command("ip", "link", "add", "pods1", "type", "bridge")
	n.command("ip", "link", "add", "veth1", "type", "veth", "peer", "name", "eth1")
	n.command("ip", "link", "set", "veth1", "master", "pods1")
	t.Cleanup(func() { n.command("ip", "link", "del", "veth1") })
	n.write("net.d/10-weft.conflist", `{"name":"pods","plugins":[{"type":"weft","delegate":{"bridge":"pods1"}}]}`)
	n.write("net.d/20-other.conflist", `{"name":"other","plugins":[{"type":"bridge","bridge":"br-other"}]}`)
	n.write("net.d/30-evil.conf", `{"name":"../../lib","type":"flannel"}`)
	n.write("cni/networks/pods/10.5.1.2", "container")
	n.write("cni/networks/other/10.99.0.2", "container")
	n.write("cni/flannel/container", "{}")

	things := []string{"CNI configuration net.d/10-weft.conflist", "records of pods' addresses cni/networks/pods",
		"CNI configuration net.d/30-evil.conf", "records of the CNI plugin cni/flannel"}
	note := "note: the cluster's network is not known here any more: routes of flannel's host-gw mode are not recognized without --config\n"
	for _, step := range []struct {
		flags []string
		code  int
		want  string
	}{
		{nil, 0, note + "note: bridge device cni0 stays; --cni removes it too\nnote: bridge device pods1 stays; --cni removes it too\n" +
			"note: " + strings.Join(things, " stays; --cni removes it too\nnote: ") + " stays; --cni removes it too\n" +
			"nothing of Weft's or flannel's is on this host\n"},
		{[]string{"--cni", "--dry-run"}, 0, note + "would remove bridge device cni0\nwould remove bridge device pods1\nwould remove " +
			strings.Join(things, "\nwould remove ") + "\n"},
		{[]string{"--cni"}, 2, "weftctl: pods are attached to bridge pods1 (1 devices): drain the node first, or go on with --force\n"},
		{[]string{"--cni", "--force"}, 0, note + "removed bridge device cni0\nremoved bridge device pods1\nremoved " +
			strings.Join(things, "\nremoved ") + "\n"},
		{[]string{"--cni"}, 0, note + "nothing of Weft's or flannel's is on this host\n"},
	} {
		output, code := n.cleanup(step.flags...)
		if diff := cmp.Diff(step.want, output); diff != "" || code != step.code {
			t.Errorf("cleanup %v: exit %d, want %d; -want +got:\n%s", step.flags, code, step.code, diff)
		}
	}
	for _, name := range []string{"net.d/20-other.conflist", "cni/networks/other/10.99.0.2"} {
		if _, err := os.Stat(n.path(name)); err != nil {
			t.Errorf("what is not ours is gone: %v", err)
		}
	}
}

// TestCleanupOfTheInstallation holds that what a killed installation left is removed, and that plugins stay.
func TestCleanupOfTheInstallation(t *testing.T) {
	n := newNode(t)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", n.path("bin/weft"), "../weft")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	n.write("bin/bridge", "somebody's")
	n.write("bin/.weft.123", "half")
	n.write("bin/.bridge.9", "half")
	n.write("bin/.weft.swp", "a person's")
	n.write("net.d/05-pods.conflist", `{"name":"pods","plugins":[{"type":"weft"}]}`)
	n.write("net.d/.05-pods.conflist.77", "half")
	n.write("net.d/.10-weft.conflist.5", "half")

	note := "note: the cluster's network is not known here any more: routes of flannel's host-gw mode are not recognized without --config\n"
	things := []string{"net.d/.05-pods.conflist.77", "net.d/.10-weft.conflist.5", "bin/.weft.123", "bin/.bridge.9"}
	removed := "removed unfinished file " + strings.Join(things, "\nremoved unfinished file ") + "\n"
	for _, step := range []struct {
		flags []string
		want  string
	}{
		{nil, note + removed + "note: CNI configuration net.d/05-pods.conflist stays; --cni removes it too\n"},
		{[]string{"--cni"}, note + "note: CNI plugin bin/weft stays: the runtime needs it to delete the pods that it made; remove it when there are none\n" +
			"removed CNI configuration net.d/05-pods.conflist\n"},
	} {
		output, code := n.cleanup(step.flags...)
		if diff := cmp.Diff(step.want, output); diff != "" || code != 0 {
			t.Errorf("cleanup %v: exit %d, -want +got:\n%s", step.flags, code, diff)
		}
	}
	for _, name := range []string{"bin/weft", "bin/bridge", "bin/.weft.swp"} {
		if _, err := os.Stat(n.path(name)); err != nil {
			t.Error(err)
		}
	}
}

// TestCleanupRefusesWhileAnAgentRuns starts a program under the agent's name.
func TestCleanupRefusesWhileAnAgentRuns(t *testing.T) {
	n := newNode(t)
	n.weave()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	agent := n.path("weftd")
	if err := os.WriteFile(agent, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), agent, "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { cmd.Process.Kill(); cmd.Wait() }
	defer stop()

	output, code := n.cleanup()
	want := fmt.Sprintf("weftctl: weftd runs here (process %d) and would put things back: stop it first (systemctl stop weftd, or remove its DaemonSet), or go on with --force\n", cmd.Process.Pid)
	if diff := cmp.Diff(want, output); diff != "" || code != 2 {
		t.Errorf("exit %d, want 2; -want +got:\n%s", code, diff)
	}
	if output, code := n.cleanup("--dry-run"); code != 0 || !strings.Contains(output, "would remove link flannel.1") {
		t.Errorf("--dry-run: exit %d\n%s", code, output)
	}
	stop()
	if output, code := n.cleanup(); code != 0 || !strings.Contains(output, "removed link flannel.1") {
		t.Errorf("without the agent: exit %d\n%s", code, output)
	}
}

// TestCleanupLeavesTheSocketOfALivingAgent holds that --force does not cut the agent off from weftctl.
func TestCleanupLeavesTheSocketOfALivingAgent(t *testing.T) {
	n := newNode(t)
	l, err := net.Listen("unix", n.path("run/weftd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if output, code := n.cleanup("--force"); code != 0 || strings.Contains(output, "weftd.sock") {
		t.Errorf("exit %d\n%s", code, output)
	}
	if _, err := os.Stat(n.path("run/weftd.sock")); err != nil {
		t.Error(err)
	}
}
