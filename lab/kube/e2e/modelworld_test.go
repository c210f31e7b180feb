package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// Ports of what serves.
const (
	podPort     = 80
	hostPort    = 8080 // of host-network pods, and of the server outside
	nodePort    = 30080
	localPort   = 30081
	distantPort = 30082
)

// world is a cluster with pods and Services, and a server outside.
type world struct {
	*kube.Cluster
	families []subnet.Family
	pods     []*kube.Pod // a1 and a2 on the first node, b1 and b2 on the second
	hosts    []*kube.Pod // a host-network pod on each node
	pod      string      // the pods' program, for askers outside
	names    map[netip.Addr]string
}

// newWorld starts the cluster and makes everything in it.
func newWorld(t *testing.T, o kube.Setup) *world {
	t.Helper()
	w := &world{Cluster: installed(t, o), families: o.Families, pod: parts(t).Pod, names: map[netip.Addr]string{}}
	backend := map[string]string{"role": "backend"}
	w.pods = []*kube.Pod{
		{Name: "a1", Node: w.Nodes[0], Labels: backend, Probed: true}, {Name: "a2", Node: w.Nodes[0]},
		{Name: "b1", Node: w.Nodes[1], Labels: backend, Probed: true}, {Name: "b2", Node: w.Nodes[1]},
	}
	for _, n := range w.Nodes {
		w.hosts = append(w.hosts, &kube.Pod{Name: "on-" + n.Name(), Node: n, HostNetwork: true, Command: []string{"serve", strconv.Itoa(hostPort)}})
	}
	if err := w.RunPods(t.Context(), append(w.pods[:4:4], w.hosts...)...); err != nil {
		t.Fatal(err)
	}
	for _, s := range []service{
		{name: "both", selector: "role: backend", port: nodePort},
		{name: "local", selector: "role: backend", port: localPort, local: true},
		{name: "distant", selector: "app: b1", port: distantPort, local: true},
		{name: "own", selector: "app: a1"},
	} {
		if err := w.Apply(t.Context(), s.manifest(len(o.Families) == 2)); err != nil {
			t.Fatal(err)
		}
	}
	w.serveOutside(t)
	w.nameAddresses(t)
	return w
}

// service is a Service of pods, reachable from outside where it has a port.
type service struct {
	name, selector string
	port           int
	local          bool // externalTrafficPolicy
}

func (s service) manifest(dual bool) string {
	text := fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  selector: {%s}\n", s.name, s.selector)
	if dual {
		text += "  ipFamilyPolicy: RequireDualStack\n"
	}
	node := ""
	if s.port != 0 {
		text += "  type: NodePort\n"
		node = fmt.Sprintf(", nodePort: %d", s.port)
	}
	if s.local {
		text += "  externalTrafficPolicy: Local\n"
	}
	return text + fmt.Sprintf("  ports: [{name: tcp, port: 80, protocol: TCP%s}, {name: udp, port: 80, protocol: UDP%s}]\n", node, node)
}

// serveOutside runs a server on the far side of the nodes' router until the test ends.
func (w *world) serveOutside(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), w.pod, "serve", strconv.Itoa(hostPort))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the test's context may have done it
		_ = cmd.Wait()
	})
	for _, f := range w.families {
		eventually(t, "the server outside", func() error {
			_, err := w.outside(f)("ask", "tcp", netip.AddrPortFrom(kube.Outside()[f], hostPort).String())
			return err
		})
	}
}

// nameAddresses finds out which addresses are whose.
func (w *world) nameAddresses(t *testing.T) {
	t.Helper()
	for _, p := range w.pods {
		for _, f := range w.families {
			w.names[p.Addrs[f]] = p.Name
		}
	}
	for _, a := range kube.Outside() {
		w.names[a] = "outside"
	}
	for _, n := range w.Nodes {
		out, err := n.Run("ip", "-json", "address")
		if err != nil {
			t.Fatal(err)
		}
		var links []struct {
			Addresses []struct{ Local netip.Addr } `json:"addr_info"`
		}
		if err := json.Unmarshal([]byte(out), &links); err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			for _, a := range l.Addresses {
				if !a.Local.IsLoopback() && !a.Local.IsLinkLocalUnicast() {
					w.names[a.Local] = n.Name()
				}
			}
		}
	}
}

// asker runs the pods' program somewhere, and returns what it printed.
type asker func(args ...string) (string, error)

func (w *world) podAsker(p *kube.Pod) asker {
	return func(args ...string) (string, error) { return p.Run(append([]string{"pod"}, args...)...) }
}

func (w *world) nodeAsker(n *kube.Node) asker {
	return func(args ...string) (string, error) { return n.Run("pod", args...) }
}

// container runs the program in the container of a pod.
func (w *world) container(ctx context.Context, name string) asker {
	return func(args ...string) (string, error) {
		return w.Kubectl(ctx, append([]string{"exec", name, "--", "/pod"}, args...)...)
	}
}

// outside asks from the far side of the nodes' router.
func (w *world) outside(f subnet.Family) asker {
	return func(args ...string) (string, error) {
		args = append([]string{"ask", "-from", kube.Outside()[f].String()}, args[1:]...)
		out, err := exec.Command(w.pod, args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("outside: %w\n%s", err, out)
		}
		return string(out), err
	}
}

// ask asks with so many bytes, and tells in names who answered and who was seen there, and whether that is the asker's own
// address. Who serves outside, or on a node, has the name of its host.
func (w *world) ask(from asker, network string, to netip.AddrPort, size int) (says string, err error) {
	out, err := from("ask", "-bytes", strconv.Itoa(size), network, to.String())
	if err != nil {
		return "", err
	}
	words := strings.Fields(out)
	if len(words) != 4 {
		return "", fmt.Errorf("asking %s: %q", to, out)
	}
	seen, err1 := netip.ParseAddrPort(words[1])
	own, err2 := netip.ParseAddrPort(words[2])
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	says = words[0] + " sees " + w.name(seen.Addr())
	if seen.Addr() != own.Addr() {
		says += " in place of " + w.name(own.Addr())
	}
	return says, nil
}

func (w *world) name(a netip.Addr) string {
	if name, ok := w.names[a.Unmap()]; ok {
		return name
	}
	return a.String()
}

// serviceAddr is the cluster address of a Service.
func (w *world) serviceAddr(t *testing.T, name string, f subnet.Family) netip.AddrPort {
	t.Helper()
	out, err := w.Kubectl(t.Context(), "get", "service", name, "-o", "jsonpath={.spec.clusterIPs[*]}")
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(out) {
		if a, err := netip.ParseAddr(word); err == nil && subnet.FamilyOf(a) == f {
			return netip.AddrPortFrom(a, podPort)
		}
	}
	t.Fatalf("Service %s has no %s address, but %q", name, f, out)
	return netip.AddrPort{}
}
