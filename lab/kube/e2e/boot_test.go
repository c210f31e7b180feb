package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-network/weft/lab/kube"
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

// kubectl runs a command that has to succeed.
func (b *bed) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.Kubectl(t.Context(), args...)
	must(t, err)
	return out
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

// well waits until all is as it should be: nodes and agents ready, the old pods and new ones of all nodes reach each other.
func (b *bed) well(t *testing.T, old ...*kube.Pod) {
	t.Helper()
	must(t, b.WaitReady(t.Context()))
	b.awaitAgents(t)
	fresh := b.pods(t, b.Nodes...)
	talk(t, append(fresh, old...)...)
	b.kubectl(t, "delete", "pod", "--wait=false", fresh[0].Name, fresh[1].Name)
}

// kill kills programs of a node by their name.
func kill(t *testing.T, n *kube.Node, name string) {
	t.Helper()
	if _, err := n.Run("pkill", "-KILL", "-x", name); err != nil {
		t.Error(err)
	}
}

// Whatever is restarted while the kernel goes on costs pods nothing.
func TestRestarts(t *testing.T) {
	b := newBed(t, kube.Setup{Proxy: "nftables"})
	n := b.Nodes[1]
	pods := b.pods(t, b.Nodes[0], b.Nodes[1], b.Nodes[1])
	for _, test := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"kubelet", func(t *testing.T) {
			n.Kubelet.Stop(syscall.SIGTERM)
			must(t, n.Kubelet.Start(t.Context()))
		}},
		{"containerd", func(t *testing.T) {
			n.Containerd.Stop(syscall.SIGTERM)
			must(t, n.Containerd.Start(t.Context()))
		}},
		{"kubelet and containerd", func(t *testing.T) {
			n.Kubelet.Stop(syscall.SIGKILL)
			n.Containerd.Stop(syscall.SIGKILL)
			must(t, n.Containerd.Start(t.Context()))
			must(t, n.Kubelet.Start(t.Context()))
		}},
		{"agents", func(t *testing.T) {
			kill(t, b.Nodes[0], "weftd")
			kill(t, b.Nodes[1], "weftd")
		}},
		{"API", func(t *testing.T) {
			b.Plane().StopAPI()
			must(t, b.Plane().StartAPI(t.Context()))
		}},
		{"agents while the API is away", func(t *testing.T) {
			b.Plane().StopAPI()
			kill(t, b.Nodes[0], "weftd")
			kill(t, b.Nodes[1], "weftd")
			must(t, b.Plane().StartAPI(t.Context()))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := converse(t, pods...)
			test.do(t)
			b.well(t, pods...)
			c.end(t)
		})
	}
}
