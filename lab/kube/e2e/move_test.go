package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// moving is a cluster with flannel, which the script in dist/kubernetes moves to Weft and back.
type moving struct {
	t       *testing.T
	c       *kube.Cluster
	pods    []*kube.Pod   // alive
	talking *conversation // nil where nobody talks
	dir     string        // where the script runs
}

// TestMoveFromFlannel walks the whole way there and back, with pods of all times that talk to each other.
func TestMoveFromFlannel(t *testing.T) {
	m := newMoving(t)
	old := m.run("flannel", 2)
	m.talk()

	m.unchanged(func() { m.script("move", "--dry-run") })
	if out := m.script("status"); !strings.Contains(out, "nothing was moved") {
		t.Errorf("status in the beginning:\n%s", out)
	}

	// Weft cannot start: nothing is lost, and the way back is told.
	m.stops([]string{"node1: not ready with weft after 5 seconds", "back --node node1"},
		"move", "--image", "docker.io/library/absent:v1", "--timeout", "5")
	m.matrix()
	m.script("back", "--node", "node1")
	m.has(map[string]string{"node1": "flannel", "node2": "flannel"})

	// One node alone: the cluster is mixed.
	m.script("move", "--node", "node1")
	m.has(map[string]string{"node1": "weft", "node2": "flannel"})
	mixed := m.run("mixed", 1)
	m.matrix()

	m.script("move")
	m.has(map[string]string{"node1": "weft", "node2": "weft"})
	again := m.script("move")
	if strings.Contains(again, "leaves") {
		t.Errorf("the second time something was done:\n%s", again)
	}
	m.chain("05-weft.conflist", "10-flannel.conflist")
	moved := m.run("weft", 1)
	m.matrix()
	m.remove(old[len(m.c.Nodes):]...) // by Weft's plugin
	m.records()

	// And back, one node alone first.
	m.script("back", "--node", "node2")
	m.has(map[string]string{"node1": "weft", "node2": "flannel"})
	m.matrix()
	m.script("back")
	m.has(map[string]string{"node1": "flannel", "node2": "flannel"})
	m.chain("10-flannel.conflist")
	m.run("again", 1)
	m.matrix()
	m.remove(moved...) // by flannel's plugin
	m.records()
	m.traces()

	m.silence()
	m.remove(append(old[:len(m.c.Nodes)], mixed...)...)
	m.remove(slices.Clone(m.pods)...)
	m.records()
}

// newMoving starts a cluster and installs flannel as its own manifest does.
func newMoving(t *testing.T) *moving {
	t.Helper()
	m := &moving{t: t, c: up(t, kube.Setup{Proxy: "iptables"}), dir: t.TempDir()}
	out := filepath.Dir(parts(t).Pod)
	for _, n := range m.c.Nodes {
		m.must(n.Import(filepath.Join(out, "flannel.tar")))
		for _, plugin := range []string{"bridge", "host-local", "loopback", "portmap"} { // a distribution's package brings them
			text, err := os.ReadFile(filepath.Join(out, "bin/cni", plugin))
			m.must(err)
			m.must(n.Do(func() error {
				if err := os.MkdirAll("/opt/cni/bin", 0o755); err != nil {
					return err
				}
				return os.WriteFile("/opt/cni/bin/"+plugin, text, 0o755)
			}))
		}
	}
	manifest, err := os.ReadFile("testdata/kube-flannel.yaml")
	m.must(err)
	m.must(m.c.Install(t.Context(), string(manifest)))
	m.kubectl("-n", "kube-flannel", "rollout", "status", "daemonset/kube-flannel-ds", inTime())
	return m
}

func (m *moving) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *moving) kubectl(args ...string) string {
	m.t.Helper()
	out, err := m.c.Kubectl(m.t.Context(), args...)
	m.must(err)
	return out
}

// script runs the script as an administrator does.
func (m *moving) script(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	m.must(err)
	return out
}

// stops runs the script, which has to give up and to say these things.
func (m *moving) stops(want []string, args ...string) {
	m.t.Helper()
	out, err := m.try(args...)
	if err == nil {
		m.t.Error("the script succeeded")
	}
	for _, part := range want {
		if !strings.Contains(out, part) {
			m.t.Errorf("the script does not say %q", part)
		}
	}
}

// try runs the script and returns what it said.
func (m *moving) try(args ...string) (string, error) {
	m.t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "dist/kubernetes/move-from-flannel.sh"))
	m.must(err)
	kubectl, err := m.c.KubectlCommand(m.t.Context())
	m.must(err)
	cmd := exec.CommandContext(m.t.Context(), path, args...)
	cmd.Dir = m.dir
	cmd.Env = append(kubectl.Env, "PATH="+filepath.Dir(kubectl.Path)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	m.t.Logf("move-from-flannel.sh %s\n%s", strings.Join(args, " "), out)
	return string(out), err
}

// run makes so many pods on each node; they are named by the time that it is. It returns one of each node first.
func (m *moving) run(when string, each int) []*kube.Pod {
	m.t.Helper()
	var made []*kube.Pod
	for i := range each {
		for _, n := range m.c.Nodes {
			made = append(made, &kube.Pod{Name: fmt.Sprintf("%s-%s-%d", when, n.Name(), i), Node: n})
		}
	}
	m.must(m.c.RunPods(m.t.Context(), made...))
	m.pods = append(m.pods, made...)
	addrs := map[netip.Addr]string{}
	for _, p := range m.pods {
		if other, taken := addrs[p.Addrs[subnet.Inet]]; taken {
			m.t.Errorf("pods %s and %s have the same address %s", p.Name, other, p.Addrs[subnet.Inet])
		}
		addrs[p.Addrs[subnet.Inet]] = p.Name
	}
	return made
}

// remove deletes pods.
func (m *moving) remove(pods ...*kube.Pod) {
	m.t.Helper()
	pods = slices.DeleteFunc(pods, func(p *kube.Pod) bool { return !slices.Contains(m.pods, p) })
	m.must(m.c.DeletePods(m.t.Context(), pods...))
	m.pods = slices.DeleteFunc(m.pods, func(p *kube.Pod) bool { return slices.Contains(pods, p) })
}

// talk begins to send a packet every 10 ms from the first pod of each node to that of every other one.
func (m *moving) talk() {
	m.t.Helper()
	m.matrix()
	m.talking = converse(m.t, m.pods[:len(m.c.Nodes)]...)
	m.t.Cleanup(m.silence) // a machine ends when all have ended that run there
}

// silence ends what talk began. Nothing may have been lost, of so much that all of the move was under traffic.
func (m *moving) silence() {
	m.t.Helper()
	if m.talking != nil {
		least := m.talking.end(m.t)
		m.talking = nil
		m.t.Logf("%d packets or more between each two pods", least)
		if least < 1000 {
			m.t.Errorf("only %d packets were sent", least)
		}
	}
}

// matrix asks every pod from every other one.
func (m *moving) matrix() {
	m.t.Helper()
	for _, from := range m.pods {
		for _, to := range m.pods {
			if out, err := from.Run("pod", "get", "http://"+to.Addrs[subnet.Inet].String()); err != nil {
				m.t.Errorf("%s to %s: %v\n%s", from.Name, to.Name, err, out)
			}
		}
	}
}

// has looks which agents run where, as the script and as the nodes themselves tell it.
func (m *moving) has(want map[string]string) {
	m.t.Helper()
	lines := map[string]bool{}
	for line := range strings.Lines(m.script("status")) {
		lines[strings.TrimSpace(line)] = true
	}
	for _, n := range m.c.Nodes {
		agent := want[n.Name()]
		if line := fmt.Sprintf("%s: %s, ready", n.Name(), agent); !lines[line] {
			m.t.Errorf("status does not say %q", line)
		}
		program := map[string]string{"weft": "weftd", "flannel": "flanneld"}[agent]
		for _, name := range []string{"weftd", "flanneld"} {
			if _, err := n.Run("sh", "-c", "grep -qx "+name+" /proc/[0-9]*/comm"); (err == nil) != (name == program) {
				m.t.Errorf("%s has to have %s: looking for %s: %v", n.Name(), program, name, err)
			}
		}
	}
}

// chain looks which configurations the container runtime finds, and that all keep the addresses in one place.
func (m *moving) chain(want ...string) {
	m.t.Helper()
	for _, n := range m.c.Nodes {
		out, err := n.Run("ls", "/etc/cni/net.d")
		m.must(err)
		if diff := cmp.Diff(want, strings.Fields(out)); diff != "" {
			m.t.Errorf("CNI configurations of %s (-want +got):\n%s", n.Name(), diff)
		}
		out, err = n.Run("ls", "/var/lib/cni/networks")
		m.must(err)
		if diff := cmp.Diff([]string{"cbr0"}, strings.Fields(out)); diff != "" {
			m.t.Errorf("networks whose addresses are kept on %s (-want +got):\n%s", n.Name(), diff)
		}
	}
}

// records compares what plugins keep on the nodes with the pods that there are.
func (m *moving) records() {
	m.t.Helper()
	for _, n := range m.c.Nodes {
		var want []string
		for _, p := range m.pods {
			if p.Node.Name() == n.Name() {
				want = append(want, p.Addrs[subnet.Inet].String())
			}
		}
		slices.Sort(want)
		out, err := n.Run("sh", "-c", "cd /var/lib/cni/networks/cbr0 && ls | grep -v -e lock -e last_reserved || :")
		m.must(err)
		got := strings.Fields(out)
		slices.Sort(got)
		if diff := cmp.Diff(strings.Join(want, " "), strings.Join(got, " ")); diff != "" {
			m.t.Errorf("addresses that are taken on %s (-pods +records):\n%s", n.Name(), diff)
		}
		out, err = n.Run("sh", "-c", "ls /var/lib/cni/flannel | wc -l")
		m.must(err)
		if count := strings.TrimSpace(out); count != fmt.Sprint(len(want)) {
			m.t.Errorf("%s has the records of %s pods, and %d pods", n.Name(), count, len(want))
		}
	}
}

// unchanged holds that f changes nothing that the API server keeps.
func (m *moving) unchanged(f func()) {
	m.t.Helper()
	see := func() string {
		return m.kubectl("get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.labels}{"\n"}{end}`) +
			m.kubectl("get", "daemonsets,configmaps", "-A", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.generation}{"\n"}{end}`)
	}
	before := see()
	f()
	if diff := cmp.Diff(before, see()); diff != "" {
		m.t.Errorf("something has changed (-before +after):\n%s", diff)
	}
}

// traces looks for what is left of Weft where flannel has everything again.
func (m *moving) traces() {
	m.t.Helper()
	for _, n := range m.c.Nodes {
		out, err := n.Run("sh", "-c", "nft list tables; ip route show type unreachable; ls /var/lib/weft")
		m.must(err)
		if strings.Contains(out, "weft") || strings.Contains(out, "proto 87") || strings.Contains(out, "leases.json") {
			m.t.Errorf("%s still has something of Weft's:\n%s", n.Name(), out)
		}
	}
	if out := m.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.labels}"); strings.Contains(out, "weft-network") {
		m.t.Errorf("Nodes have labels still: %s", out)
	}
	if out := m.kubectl("get", "all,clusterroles,namespaces", "-A", "-o", "name"); strings.Contains(out, "weft") {
		m.t.Errorf("the cluster still has:\n%s", out)
	}
}
