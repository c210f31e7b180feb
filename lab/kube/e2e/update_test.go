package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// TestUpdate changes Weft while pods talk: its pods, its version and its configuration. Not a packet may be lost.
func TestUpdate(t *testing.T) {
	u := &update{Cluster: installed(t, kube.Setup{Families: subnet.Families[:], Proxy: "nftables"})}
	u.pods = []*kube.Pod{{Name: "a1", Node: u.Nodes[0]}, {Name: "a2", Node: u.Nodes[0]}, {Name: "b1", Node: u.Nodes[1]}}
	must(t, u.RunPods(t.Context(), u.pods...))
	u.settled(t)
	for _, s := range []struct {
		name string
		test func(*testing.T, *update)
	}{
		{"restart", testRolloutRestart}, {"version", testNewVersion}, {"MTU", testNewMTU}, {"overlay", testNewOverlay},
		{"masquerade", testNewMasquerade}, {"backend", testNewBackend}, {"cni-conf", testNewConflist}, {"refused", testRefused},
	} {
		t.Run(s.name, func(t *testing.T) {
			talking, stream := converse(t, u.pods...), newStream(t, u.pods[0], u.pods[2])
			s.test(t, u)
			talking.end(t)
			stream.end(t)
		})
	}
}

// update is a cluster with pods on both nodes.
type update struct {
	*kube.Cluster
	pods []*kube.Pod
}

// rollout waits for the DaemonSet, and holds that no more than one node is without an agent meanwhile.
func (u *update) rollout(t *testing.T) {
	t.Helper()
	ctx, done := context.WithCancel(t.Context())
	defer done()
	worst := make(chan int, 1)
	go func() {
		most := 0
		for ctx.Err() == nil {
			out, _ := u.Kubectl(ctx, "-n", "weft-system", "get", "daemonset", "weft", "--watch", "-o", `jsonpath={.status.numberUnavailable}{"\n"}`)
			for word := range strings.FieldsSeq(out) {
				if n := 0; word != "" {
					_, _ = fmt.Sscan(word, &n)
					most = max(most, n)
				}
			}
		}
		worst <- most
	}()
	u.settled(t)
	done()
	if n := <-worst; n > 1 {
		t.Errorf("%d nodes were without an agent at once", n)
	}
}

// settled waits until all agents are those of the DaemonSet, are ready, and warn of nothing.
func (u *update) settled(t *testing.T) {
	t.Helper()
	_, err := u.Kubectl(t.Context(), "-n", "weft-system", "rollout", "status", "daemonset/weft", inTime())
	must(t, err)
	for _, n := range u.Nodes {
		eventually(t, "the agent of "+n.Name(), func() error {
			s, err := statusOf(n)
			if err == nil && (!s.Ready || len(s.Warnings) > 0) {
				err = fmt.Errorf("ready %t, waiting for %q, warnings %q", s.Ready, s.Waiting, s.Warnings)
			}
			return err
		})
	}
}

func testRolloutRestart(t *testing.T, u *update) {
	_, err := u.Kubectl(t.Context(), "-n", "weft-system", "rollout", "restart", "daemonset/weft")
	must(t, err)
	u.rollout(t)
	for _, n := range u.Nodes {
		untouched(t, n)
	}
}

// testNewVersion updates to an image of another version, whose plugin replaces the old one on the nodes.
func testNewVersion(t *testing.T, u *update) {
	const version, image = "e2e-next", "docker.io/library/weft:next"
	p, dir := parts(t), t.TempDir()
	bin := filepath.Join(dir, "bin")
	must(t, os.CopyFS(bin, os.DirFS(filepath.Join(filepath.Dir(p.Pod), "bin"))))
	for to, program := range map[string]string{"weftd": "weftd", "weftctl": "weftctl", "cni/weft": "weft"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w -X main.version="+version,
			"-o", filepath.Join(bin, to), "./cmd/"+program)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	file, err := p.MakeWeft(t.Context(), image, bin, dir)
	must(t, err)
	for _, n := range u.Nodes {
		must(t, n.Import(file))
	}
	_, err = u.Kubectl(t.Context(), "-n", "weft-system", "set", "image", "daemonset/weft", "weft="+image)
	must(t, err)
	u.rollout(t)
	for _, n := range u.Nodes {
		untouched(t, n)
		s, err := statusOf(n)
		must(t, err)
		if s.Version != version {
			t.Errorf("version %q on %s", s.Version, n.Name())
		}
		if out, err := n.Run("/opt/cni/bin/weft"); !strings.Contains(out, version) {
			t.Errorf("the plugin on %s says %q, %v", n.Name(), out, err)
		}
	}
}

// configure changes keys of the ConfigMap.
func (u *update) configure(t *testing.T, keys map[string]string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"data": keys})
	must(t, err)
	_, err = u.Kubectl(t.Context(), "-n", "weft-system", "patch", "configmap", "weft-config", "--type=merge", "-p", string(text))
	must(t, err)
}

// netConf is a net-conf.json of both families.
func netConf(more, backend string) map[string]string {
	return map[string]string{"net-conf.json": fmt.Sprintf(`{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:10:244::/56"%s, "Backend": {"Type": "vxlan"%s}}`, more, backend)}
}

// onNodes waits until a command prints words on every node.
func (u *update) onNodes(t *testing.T, words string, command ...string) {
	t.Helper()
	for _, n := range u.Nodes {
		eventually(t, fmt.Sprintf("%q of %q on %s", words, command, n.Name()), func() error {
			out, err := n.Run(command[0], command[1:]...)
			if err == nil && !strings.Contains(out, words) {
				err = errors.New(out)
			}
			return err
		})
	}
}

func testNewMTU(t *testing.T, u *update) {
	u.configure(t, netConf("", `, "MTU": 1400`))
	u.onNodes(t, "mtu 1350 ", "ip", "link", "show", "flannel.1")
	u.onNodes(t, "mtu 1330 ", "ip", "link", "show", "flannel-v6.1")
	u.onNodes(t, "FLANNEL_MTU=1330", "cat", "/run/flannel/subnet.env")
}

// testNewOverlay moves the cluster to another VNI. What comes after it moves it back.
func testNewOverlay(t *testing.T, u *update) {
	u.configure(t, netConf("", `, "VNI": 2`))
	u.onNodes(t, "vxlan id 2 ", "ip", "-d", "link", "show", "flannel.2")
	u.onNodes(t, "vxlan id 2 ", "ip", "-d", "link", "show", "flannel-v6.2")
	for _, n := range u.Nodes {
		eventually(t, "the former devices of "+n.Name()+" to go", func() error {
			if out, err := n.Run("sh", "-c", "! ip -o link | grep -E 'flannel(-v6)?[.]1:'"); err != nil {
				return errors.New(out)
			}
			return nil
		})
	}
}

// testNewBackend moves the cluster to backends without a tunnel, and back. To try whether one is needed, auto wants a capability.
func testNewBackend(t *testing.T, u *update) {
	const raw = `[{"op": "add", "path": "/spec/template/spec/containers/0/securityContext/capabilities/add/-", "value": "NET_RAW"}]`
	_, err := u.Kubectl(t.Context(), "-n", "weft-system", "patch", "daemonset", "weft", "--type=json", "-p", raw)
	must(t, err)
	u.rollout(t)
	for _, b := range []struct {
		kind, way string
		direct    bool
	}{{"host-gw", "host-gw", false}, {"auto", "vxlan (VNI 1 at port 8472)", true}, {"vxlan", "vxlan (VNI 1 at port 8472)", false}} {
		u.configure(t, map[string]string{"net-conf.json": strings.Replace(netConf("", "")["net-conf.json"], `"Type": "vxlan"`, fmt.Sprintf(`"Type": %q`, b.kind), 1)})
		for _, n := range u.Nodes {
			eventually(t, n.Name()+" to reach its peers by "+b.kind, func() error { return u.reachesBy(n, b.way, b.direct) })
		}
	}
}

// reachesBy tells whether a node reaches all others by one way alone, past a tunnel where that is tried.
func (u *update) reachesBy(n *kube.Node, way string, direct bool) error {
	s, err := statusOf(n)
	if err != nil {
		return err
	}
	if s.Transition != nil || len(s.Peers) != len(u.Nodes)-1 {
		return fmt.Errorf("%d peers, in transition: %t", len(s.Peers), s.Transition != nil)
	}
	for _, p := range s.Peers {
		past := len(p.Paths) > 0
		for _, path := range p.Paths {
			past = past && path.Direct
		}
		if p.Way != way || past != direct {
			return fmt.Errorf("%s is reached by %s, past the tunnel: %t", p.Subnets, p.Way, past)
		}
	}
	return nil
}

func testNewMasquerade(t *testing.T, u *update) {
	u.configure(t, netConf(`, "NoMasquerade": ["198.51.100.0/24"]`, ""))
	u.onNodes(t, "vxlan id 1 ", "ip", "-d", "link", "show", "flannel.1")
	u.onNodes(t, "198.51.100.0/24", "nft", "list", "table", "inet", "weft")
	u.configure(t, netConf("", ""))
	for _, n := range u.Nodes {
		eventually(t, "the rule to go", func() error {
			out, err := n.Run("nft", "list", "table", "inet", "weft")
			if err == nil && strings.Contains(out, "198.51.100.0") {
				err = errors.New(out)
			}
			return err
		})
	}
}

// testNewConflist changes the CNI configuration, and then to one that cannot be used.
func testNewConflist(t *testing.T, u *update) {
	old, err := u.Kubectl(t.Context(), "-n", "weft-system", "get", "configmap", "weft-config", "-o", `jsonpath={.data.cni-conf\.json}`)
	must(t, err)
	u.configure(t, map[string]string{"cni-conf.json": strings.Replace(old, `"hairpinMode": true`, `"hairpinMode": true, "mtu": 1390`, 1)})
	u.onNodes(t, `"mtu": 1390`, "cat", confFile)
	u.configure(t, map[string]string{"cni-conf.json": `{"name": "weft"}`})
	u.warned(t, "CNI configuration")
	u.onNodes(t, `"mtu": 1390`, "cat", confFile)
	u.configure(t, map[string]string{"cni-conf.json": old})
	u.onNodes(t, strings.TrimSpace(old), "cat", confFile)
	u.warned(t, "")
}

// testRefused puts what cannot be used into the ConfigMap: it is told, and nothing else happens.
func testRefused(t *testing.T, u *update) {
	for _, c := range []struct {
		name, conf, want string
	}{
		{"no JSON", `{"Network": `, "the last good one stays in force"},
		{"a mistake", `{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlam"}}`, "vxlam"},
		{"another network", `{"Network": "10.99.0.0/16", "Backend": {"Type": "vxlan"}}`, "not inside the new network"},
		{"too small for IPv6", netConf("", `, "MTU": 1300`)["net-conf.json"], "Backend.MTU: 1300 leaves pods 1230 bytes"},
	} {
		before := u.counters(t)
		u.configure(t, map[string]string{"net-conf.json": c.conf})
		u.warned(t, c.want)
		for _, n := range u.Nodes {
			eventually(t, "an event of "+n.Name(), func() error { return eventSays(t, u.Cluster, "node", n.Name(), c.want) })
			out, err := u.agentLog(t, n)
			if err != nil || !strings.Contains(out, c.want) {
				t.Errorf("%s: the log of %s does not say %q: %v\n%s", c.name, n.Name(), c.want, err, out)
			}
		}
		if diff := cmp.Diff(before, u.counters(t)); diff != "" {
			t.Errorf("%s changed the kernel (-before +after):\n%s", c.name, diff)
		}
	}
	u.configure(t, map[string]string{"net-conf.json": `{"Network": `})
	u.warned(t, "JSON")
	_, err := u.Kubectl(t.Context(), "-n", "weft-system", "rollout", "restart", "daemonset/weft")
	must(t, err)
	_, err = u.Kubectl(t.Context(), "-n", "weft-system", "rollout", "status", "daemonset/weft", inTime())
	must(t, err)
	for _, n := range u.Nodes {
		untouched(t, n)
	}
	u.warned(t, "JSON")
	u.configure(t, netConf("", ""))
	u.warned(t, "")
}
