package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// TestModel holds Kubernetes' network model, sentence by sentence, against real clusters.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		name string
		o    kube.Setup
	}{
		{"IPv4, nftables", kube.Setup{Families: []subnet.Family{subnet.Inet}, Proxy: "nftables"}},
		{"dual-stack, iptables", kube.Setup{Families: subnet.Families[:], Proxy: "iptables"}},
		{"IPv6, nftables", kube.Setup{Families: []subnet.Family{subnet.Inet6}, Proxy: "nftables"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.o)
			t.Run("probes", w.probes)
			t.Run("API", w.api)
			for _, f := range c.o.Families {
				t.Run(f.String(), func(t *testing.T) {
					for _, part := range []struct {
						name string
						test func(*testing.T, subnet.Family)
					}{
						{"pods", w.podsToPods}, {"nodes", w.nodesToPods}, {"host network", w.hostNetwork}, {"Service", w.clusterIP},
						{"hairpin", w.hairpin}, {"NodePort", w.nodePorts}, {"outside", w.toOutside}, {"size", w.sizes},
					} {
						t.Run(part.name, func(t *testing.T) { part.test(t, f) })
					}
				})
			}
		})
	}
}

// check is one question, and what is to be said.
type check struct {
	about string
	from  asker
	to    netip.AddrPort
	want  string
}

// hold asks everything over TCP and over UDP.
func (w *world) hold(t *testing.T, checks ...check) {
	t.Helper()
	want, got := map[string]string{}, map[string]string{}
	for _, c := range checks {
		for _, network := range []string{"tcp", "udp"} {
			key := c.about + ", " + network
			says, err := w.ask(c.from, network, c.to, 0)
			if err != nil {
				says = err.Error()
			}
			want[key], got[key] = c.want, says
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who answers, and who is seen there (-want +got):\n%s", diff)
	}
}

// podsToPods: pods can communicate with all other pods on any other node without NAT.
func (w *world) podsToPods(t *testing.T, f subnet.Family) {
	var checks []check
	for _, from := range w.pods {
		for _, to := range w.pods {
			checks = append(checks, check{from.Name + " to " + to.Name, w.podAsker(from), netip.AddrPortFrom(to.Addrs[f], podPort),
				to.Name + " sees " + from.Name})
		}
	}
	w.hold(t, checks...)
}

// nodesToPods: agents on a node can communicate with all pods on that node. Here with those on others too.
func (w *world) nodesToPods(t *testing.T, f subnet.Family) {
	var checks []check
	for _, n := range w.Nodes {
		for _, to := range w.pods {
			checks = append(checks, check{n.Name() + " to " + to.Name, w.nodeAsker(n), netip.AddrPortFrom(to.Addrs[f], podPort),
				to.Name + " sees " + n.Name()})
		}
	}
	w.hold(t, checks...)
}

// hostNetwork: pods in the host network of a node can communicate with all pods on all nodes without NAT, and are reached by
// these. What pods send to other nodes leaves the cluster's networks, and is masqueraded.
func (w *world) hostNetwork(t *testing.T, f subnet.Family) {
	var checks []check
	for _, host := range w.hosts {
		node := host.Node.Name()
		at := netip.AddrPortFrom(host.Node.Addr(f), hostPort)
		for _, p := range w.pods {
			seen := p.Name
			if p.Node != host.Node {
				seen = p.Node.Name() + " in place of " + p.Name
			}
			checks = append(checks,
				check{"host-network pod on " + node + " to " + p.Name, w.container(t.Context(), host.Name), netip.AddrPortFrom(p.Addrs[f], podPort), p.Name + " sees " + node},
				check{p.Name + " to host-network pod on " + node, w.podAsker(p), at, node + " sees " + seen})
		}
		for _, other := range w.hosts {
			checks = append(checks, check{"host-network pod on " + other.Node.Name() + " to that on " + node, w.nodeAsker(other.Node), at,
				node + " sees " + other.Node.Name()})
		}
	}
	w.hold(t, checks...)
}

// balanced asks until every one of these has been said, over TCP and over UDP. Nothing else may be said once the Service
// works at all.
func (w *world) balanced(t *testing.T, about string, from asker, to netip.AddrPort, want ...string) {
	t.Helper()
	for _, network := range []string{"tcp", "udp"} {
		eventually(t, about, func() error {
			_, err := w.ask(from, network, to, 0)
			return err
		})
		said := map[string]bool{}
		for range 100 {
			says, err := w.ask(from, network, to, 0)
			if err != nil {
				says = err.Error()
			}
			if said[says] = true; len(said) == len(want) {
				break
			}
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(said))); diff != "" {
			t.Errorf("%s, over %s (-want +got):\n%s", about, network, diff)
		}
	}
}

// clusterIP: pods and nodes reach a Service's pods on all nodes by its cluster address.
func (w *world) clusterIP(t *testing.T, f subnet.Family) {
	to := w.serviceAddr(t, "both", f)
	for _, p := range []*kube.Pod{w.pods[1], w.pods[3]} {
		w.balanced(t, p.Name+" to the Service", w.podAsker(p), to, "a1 sees "+p.Name, "b1 sees "+p.Name)
	}
	for _, n := range w.Nodes {
		// A node asks from the address of its uplink, and kube-proxy gives it that of the overlay, or of the bridge.
		w.balanced(t, n.Name()+" to the Service", w.nodeAsker(n), to, "a1 sees "+n.Name()+" in place of "+n.Name(),
			"b1 sees "+n.Name()+" in place of "+n.Name())
	}
}

// hairpin: a pod reaches itself by a Service.
func (w *world) hairpin(t *testing.T, f subnet.Family) {
	w.balanced(t, "a1 to its own Service", w.podAsker(w.pods[0]), w.serviceAddr(t, "own", f), "a1 sees node1 in place of a1")
}

// nodePorts: from outside, a Service's pods are reached by a port of any node, and see who asks where the policy is Local.
func (w *world) nodePorts(t *testing.T, f subnet.Family) {
	for i, n := range w.Nodes {
		own := w.pods[2*i].Name
		w.balanced(t, "outside to "+n.Name(), w.outside(f), netip.AddrPortFrom(n.Addr(f), nodePort),
			"a1 sees "+n.Name()+" in place of outside", "b1 sees "+n.Name()+" in place of outside")
		w.balanced(t, "outside to "+n.Name()+" with the policy Local", w.outside(f), netip.AddrPortFrom(n.Addr(f), localPort), own+" sees outside")
	}
	w.balanced(t, "outside to a Service with the policy Local", w.outside(f), netip.AddrPortFrom(w.Nodes[1].Addr(f), distantPort), "b1 sees outside")
	out, err := w.outside(f)("ask", "-patience", "1s", "tcp", netip.AddrPortFrom(w.Nodes[0].Addr(f), distantPort).String())
	if err == nil {
		t.Errorf("on a node without a pod of the Service, and the policy Local: %s", out)
	}
}

// toOutside: what pods send out of the cluster has their node's address.
func (w *world) toOutside(t *testing.T, f subnet.Family) {
	host, err := w.outside(f)("ask", "tcp", netip.AddrPortFrom(kube.Outside()[f], hostPort).String())
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(host, " ")
	var checks []check
	for _, p := range w.pods {
		checks = append(checks, check{p.Name + " to outside", w.podAsker(p), netip.AddrPortFrom(kube.Outside()[f], hostPort),
			name + " sees " + p.Node.Name() + " in place of " + p.Name})
	}
	w.hold(t, checks...)
}

// sizes: packets as large as a pod's device takes arrive in one piece, larger ones in several, and streams flow.
func (w *world) sizes(t *testing.T, f subnet.Family) {
	header := [...]int{20 + 8, 40 + 8}[f]
	from := w.pods[0]
	text, err := from.Run("pod", "mtu", "eth0")
	if err != nil {
		t.Fatal(err)
	}
	mtu, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]string{}, map[string]string{}
	for _, to := range w.pods[1:] {
		for _, c := range []struct {
			network string
			size    int
		}{{"udp", mtu - header}, {"udp", mtu - header + 1}, {"udp", 65000}, {"tcp", 65000}} {
			key := fmt.Sprintf("%s to %s over %s, %d bytes", from.Name, to.Name, c.network, c.size)
			says, err := w.ask(w.podAsker(from), c.network, netip.AddrPortFrom(to.Addrs[f], podPort), c.size)
			if err != nil {
				says = err.Error()
			}
			want[key], got[key] = to.Name+" sees "+from.Name, says
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with an MTU of %d (-want +got):\n%s", mtu, diff)
	}
}

// probes: the kubelet asks pods of its node whether they are ready and alive.
func (w *world) probes(t *testing.T) {
	for _, p := range []*kube.Pod{w.pods[0], w.pods[2]} {
		for _, path := range []string{"/ready", "/alive"} {
			eventually(t, "a probe of "+p.Name+" for "+path, func() error {
				log, err := w.Kubectl(t.Context(), "logs", p.Name)
				if err != nil {
					return err
				}
				return w.probed(log, path, p.Node.Name())
			})
		}
		out, err := w.Kubectl(t.Context(), "get", "pod", p.Name, "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
		if err != nil || out != "0" {
			t.Errorf("%s was started %q times again, %v", p.Name, out, err)
		}
	}
}

// probed looks for a question from a node in a pod's log.
func (w *world) probed(log, path, node string) error {
	for line := range strings.Lines(log) {
		words := strings.Fields(line)
		if len(words) != 4 || words[2] != path {
			continue
		}
		if from, err := netip.ParseAddrPort(words[3]); err == nil && w.name(from.Addr()) == node {
			return nil
		}
	}
	return fmt.Errorf("no %s from %s in the log:\n%s", path, node, log)
}

// api: pods reach the API server by the Service kubernetes, as themselves.
func (w *world) api(t *testing.T) {
	for _, p := range w.pods {
		eventually(t, p.Name+" to the API", func() error {
			out, err := w.container(t.Context(), p.Name)("api")
			if err == nil && !strings.Contains(out, kube.Version) {
				err = fmt.Errorf("the API server says %q", out)
			}
			return err
		})
	}
}
