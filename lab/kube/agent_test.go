package kube

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// agent is a weftd that runs for a Node.
type agent struct {
	k   *cluster
	dir string // of what it writes, its log among it
	cmd *exec.Cmd
}

// weftd is the agent, which is built once for a control plane.
func (k *cluster) weftd() string { return k.program("./cmd/weftd") }

// program is a program of the module, which is built once for a control plane.
func (k *cluster) program(path string) string {
	k.t.Helper()
	bin := k.c.file("program-" + filepath.Base(path))
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	c := exec.CommandContext(k.t.Context(), "go", "build", "-C", "../..", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-o", bin, path)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		k.t.Fatalf("building %s: %v\n%s", path, err, out)
	}
	return bin
}

// uplink makes a device with addresses, which it loses at the end of the test.
func uplink(t *testing.T, name string, addrs ...string) {
	t.Helper()
	l := netlink.NewVeth(netlink.LinkAttrs{Name: name, MTU: 1500})
	l.PeerName = name + "-peer"
	must(t, netlink.LinkAdd(l))
	t.Cleanup(func() { _ = netlink.LinkDel(l) })
	for _, end := range []string{name, l.PeerName} {
		link, err := netlink.LinkByName(end)
		must(t, err)
		must(t, netlink.LinkSetUp(link))
	}
	for _, text := range addrs {
		a, err := netlink.ParseAddr(text)
		must(t, err)
		must(t, netlink.AddrAdd(l, a))
	}
}

// run starts weftd for a Node, as a host service does. It is killed at the end of the test.
func (k *cluster) run(bin, node string, flags ...string) *agent {
	k.t.Helper()
	a := &agent{k: k, dir: k.t.TempDir()}
	log, err := os.Create(filepath.Join(a.dir, logName))
	must(k.t, err)
	defer log.Close()
	flags = append([]string{"--kube-subnet-mgr", "--node-name=" + node, "--kubeconfig-file=" + k.kubeconfig(), "--kube-api-url=https://127.0.0.1:1," + k.line.url(),
		"--net-config-path=" + k.configPath(), "--subnet-file=" + a.dir + "/subnet.env", "--state-dir=" + a.dir, "--socket="}, flags...)
	a.cmd = exec.CommandContext(k.t.Context(), bin, flags...)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	must(k.t, a.cmd.Start())
	k.t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
		if k.t.Failed() {
			k.t.Logf("weftd:\n%s", a.file(logName))
		}
		sweep()
	})
	return a
}

// stop ends the agent, and returns when it has ended. What it put into the kernel stays.
func (a *agent) stop() {
	a.k.t.Helper()
	must(a.k.t, a.cmd.Process.Signal(unix.SIGTERM))
	if err := a.cmd.Wait(); err != nil {
		a.k.t.Errorf("weftd ended with %v", err)
	}
}

// logName is the file in the folder of an agent that its log is in.
const logName = "log"

// sweep takes away the devices that agents leave.
func sweep() {
	for _, name := range []string{"flannel.1", "flannel-v6.1"} {
		if l, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(l)
		}
	}
}

// until looks again and again.
func (k *cluster) until(what string, is func() bool) {
	k.t.Helper()
	late, again := time.After(2*time.Minute), time.NewTicker(50*time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-late:
			k.t.Fatalf("waited for %s", what)
		case <-again.C:
		}
	}
}

func (a *agent) file(name string) string {
	text, _ := os.ReadFile(filepath.Join(a.dir, name))
	return string(text)
}

// condition is the Node's condition NetworkUnavailable.
func (k *cluster) condition(node string) string {
	for _, c := range k.node(node).Status.Conditions {
		if c.Type == "NetworkUnavailable" {
			return c.Status + " " + c.Reason + " " + c.Message
		}
	}
	return ""
}

// peers are the destinations of the routes through the overlay.
func (k *cluster) peers() string {
	k.t.Helper()
	link, err := netlink.LinkByName("flannel.1")
	if err != nil {
		return ""
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_V4)
	must(k.t, err)
	var words []string
	for _, r := range routes {
		words = append(words, r.Dst.String())
	}
	return strings.Join(words, " ")
}

// testAgent runs weftd from a Node without anything to one that is connected, and through changes.
func testAgent(k *cluster) {
	uplink(k.t, "eth7", "192.168.0.1/24", "192.168.0.2/24")
	k.peerNode()
	a := k.run(k.weftd(), "node-1")
	waiting := func(part string) {
		k.t.Helper()
		k.until(part, func() bool { return strings.Contains(a.file("subnet.env.waiting"), part) })
	}
	waiting("no network config")
	k.SetConfig(single)
	waiting("no IPv4 uplink")
	k.makeNode("node-1")
	internal := func(address string) { k.internal("node-1", address) }
	internal("192.168.0.2")
	waiting("Node node-1 has no pod CIDR yet")
	k.until("the condition", func() bool { return strings.HasPrefix(k.condition("node-1"), "True WeftIsNotReady") })
	k.do("DELETE", "/api/v1/nodes/node-1", nil)
	k.makeNode("node-1", "10.5.0.64/26")
	internal("192.168.0.2")

	k.until("subnet.env", func() bool { return strings.Contains(a.file("subnet.env"), "FLANNEL_SUBNET=10.5.0.65/26\n") })
	k.until("the condition", func() bool { return strings.HasPrefix(k.condition("node-1"), "False FlannelIsUp") })
	if diff := cmp.Diff("10.5.3.0/24", k.peers()); diff != "" {
		k.t.Errorf("routes to peers (-want +got):\n%s", diff)
	}
	if got := k.node("node-1").Metadata.Annotations[prefix+"public-ip"]; got != "192.168.0.2" {
		k.t.Errorf("announced is %s, the InternalIP is 192.168.0.2", got)
	}

	k.annotate("node-1", object{prefix + "public-ip-overwrite": "203.0.113.1"})
	k.until("the other address", func() bool { return k.node("node-1").Metadata.Annotations[prefix+"public-ip"] == "203.0.113.1" })
	k.SetConfig(`{"Network": "10.5.0.0/16", "SubnetLen": 25, "Backend": {"Type": "vxlan", "MTU": 1400}}`)
	k.until("the new MTU", func() bool {
		return strings.Contains(a.file("subnet.env"), "FLANNEL_MTU=1350\n") || strings.Contains(a.file("subnet.env"), "FLANNEL_MTU=1400\n")
	})

	mac := k.node("node-1").Metadata.Annotations[prefix+"backend-data"]
	k.do("DELETE", "/api/v1/nodes/node-1", nil)
	k.makeNode("node-1", "10.5.77.0/24")
	internal("192.168.0.1")
	k.until("the new pod CIDR", func() bool { return strings.Contains(a.file("subnet.env"), "FLANNEL_SUBNET=10.5.77.1/24\n") })
	k.until("the annotations", func() bool { return k.node("node-1").Metadata.Annotations[prefix+"public-ip"] == "192.168.0.1" })
	if got := k.node("node-1").Metadata.Annotations[prefix+"backend-data"]; got != mac {
		k.t.Errorf("the MAC address was %s, is %s", mac, got)
	}

	k.line.cut()
	k.do("DELETE", "/api/v1/nodes/node-2", nil)
	k.line.join()
	k.until("no peers", func() bool { return k.peers() == "" })
}
