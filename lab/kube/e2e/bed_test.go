package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

const confFile = "/etc/cni/net.d/10-weft.conflist"

// bed is a cluster with Weft as its manifest installs it.
type bed struct {
	*kube.Cluster
	made int // pods, for their names
}

func newBed(t *testing.T, s kube.Setup) *bed {
	t.Helper()
	b := &bed{Cluster: installed(t, s)}
	b.awaitAgents(t)
	return b
}

// kubectl runs a command that has to succeed. It is run again where the API server had no time for it.
func (b *bed) kubectl(t *testing.T, args ...string) (out string) {
	t.Helper()
	eventually(t, "the API server to have time", func() (err error) {
		out, err = b.Kubectl(t.Context(), args...)
		if err != nil && !isBusy(err) {
			t.Fatal(err)
		}
		return err
	})
	return out
}

// isBusy tells whether a command failed because the API server, which had answered before, did not get to answer.
func isBusy(err error) bool {
	return slices.ContainsFunc([]string{"request timed out", "TLS handshake timeout", "i/o timeout", "unexpected EOF", "connection reset",
		"client connection lost", "(re)initializing", "too many requests", "unable to handle the request"},
		func(words string) bool { return strings.Contains(err.Error(), words) })
}

// pods makes a pod on each node.
func (b *bed) pods(t *testing.T, nodes ...*kube.Node) []*kube.Pod {
	t.Helper()
	var pods []*kube.Pod
	for _, n := range nodes {
		b.made++
		pods = append(pods, &kube.Pod{Name: fmt.Sprintf("pod%d-%s", b.made, n.Name()), Node: n})
	}
	must(t, b.RunPods(t.Context(), pods...))
	return pods
}

// awaitAgents waits until every Node has an agent and all of them are ready.
func (b *bed) awaitAgents(t *testing.T) {
	t.Helper()
	eventually(t, "the agents", func() error {
		out, err := b.Kubectl(t.Context(), "-n", "weft-system", "get", "daemonset", "weft", "-o",
			"jsonpath={.metadata.generation}/{.status.observedGeneration} {.status.desiredNumberScheduled}/{.status.numberReady}/{.status.updatedNumberScheduled}")
		if err != nil {
			return err
		}
		if n := len(b.Nodes); !strings.HasSuffix(out, fmt.Sprintf(" %d/%d/%d", n, n, n)) {
			return fmt.Errorf("of %d agents: %s", n, out)
		}
		return nil
	})
}

// restartKubelet restarts the kubelet of a node.
func (b *bed) restartKubelet(t *testing.T, n *kube.Node) {
	t.Helper()
	n.Kubelet.Stop(syscall.SIGTERM)
	must(t, n.Kubelet.Start(t.Context()))
}

// rebootWithoutMemory reboots a node whose agent has lost what it kept on disk.
func (b *bed) rebootWithoutMemory(t *testing.T, n *kube.Node) {
	t.Helper()
	n.PowerOff()
	must(t, os.RemoveAll(filepath.Join(b.Dir(), n.Name(), "var/lib/weft")))
	must(t, n.Boot(t.Context()))
}

// ready waits until the nodes are.
func (b *bed) ready(t *testing.T, nodes ...*kube.Node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, n.Name()+" to be Ready", func() error {
			must(t, n.Kubelet.Start(t.Context())) // one that has been without the API for too long ends, and a host starts it again
			_, err := b.Kubectl(t.Context(), "wait", "--for=condition=Ready", "--timeout=60s", "node/"+n.Name())
			return err
		})
	}
}

// well waits until all is as it should be, on all nodes.
func (b *bed) well(t *testing.T, old ...*kube.Pod) {
	t.Helper()
	b.awaitAgents(t)
	for _, n := range b.Nodes {
		b.works(t, n, old...)
	}
}

// works waits until a node is as it should be: it is Ready, and new pods on it are in its pod CIDR and reach the old ones, here and
// elsewhere.
func (b *bed) works(t *testing.T, n *kube.Node, old ...*kube.Pod) {
	t.Helper()
	b.ready(t, n)
	b.follows(t, n)
	fresh := b.pods(t, n)
	must(t, within(fresh[0], b.podCIDRs(t, n)))
	talk(t, append(fresh, old...)...)
	b.ready(t, n)
	b.kubectl(t, "delete", "pod", "--wait=false", fresh[0].Name)
}

// follows waits until new pods of a node get addresses of its pod CIDRs: a new Node is without them at first, and the one before had others.
func (b *bed) follows(t *testing.T, n *kube.Node) {
	t.Helper()
	eventually(t, "the subnet of new pods to be that of the Node", func() error {
		text, err := n.Run("cat", "/run/flannel/subnet.env")
		if err != nil {
			return err
		}
		env, err := subnet.ParseEnv(text)
		if cidrs := b.podCIDRs(t, n); err == nil && env.Leased() != cidrs {
			err = fmt.Errorf("the Node has the pod CIDRs %s, and new pods are of %s", cidrs, env.Leased())
		}
		return err
	})
}

// podCIDRs are those of the node's Node.
func (b *bed) podCIDRs(t *testing.T, n *kube.Node) subnet.Subnets {
	t.Helper()
	var s subnet.Subnets
	for text := range strings.FieldsSeq(b.kubectl(t, "get", "node", n.Name(), "-o", "jsonpath={.spec.podCIDRs[*]}")) {
		p, err := netip.ParsePrefix(text)
		must(t, err)
		s[subnet.FamilyOf(p.Addr())] = p
	}
	return s
}

// kill kills programs of a node by their name.
func kill(t *testing.T, n *kube.Node, name string) {
	t.Helper()
	if _, err := n.Run("pkill", "-KILL", "-x", name); err != nil {
		t.Error(err)
	}
}

// again waits until pods run again, and returns them with the addresses that they have now.
func (b *bed) again(t *testing.T, pods ...*kube.Pod) []*kube.Pod {
	t.Helper()
	for _, p := range pods {
		before := p.Addrs
		eventually(t, p.Name+" to run again", func() error {
			err := b.Look(t.Context(), p)
			if err == nil && (p.Addrs == before || !p.Addrs[subnet.Inet].IsValid()) {
				err = fmt.Errorf("it has the addresses %v", p.Addrs)
			}
			return err
		})
	}
	return pods
}

// listen returns who waits until the kubelet of a node says something with words in it, from now on, and returns the line.
func (b *bed) listen(t *testing.T, n *kube.Node) func(*testing.T, string) string {
	t.Helper()
	path := filepath.Join(b.Dir(), n.Name()+"-kubelet.log")
	before, err := os.ReadFile(path)
	must(t, err)
	return func(t *testing.T, words string) (said string) {
		t.Helper()
		eventually(t, "the kubelet to say "+words, func() error {
			text, err := os.ReadFile(path)
			for line := range strings.Lines(string(text[min(len(before), len(text)):])) {
				if strings.Contains(line, words) {
					said = line
					return nil
				}
			}
			return errors.Join(err, errors.New("it has not"))
		})
		return said
	}
}
