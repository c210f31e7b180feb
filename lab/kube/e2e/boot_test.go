package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

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
			b.works(t, n, pods...)
			b.awaitAgents(t)
			c.end(t)
		})
	}
}

// staticPod is a pod that a kubelet runs without the API, in the form of PodImage.
const staticPod = `apiVersion: v1
kind: Pod
metadata: {name: static}
spec:
  containers: [{name: pod, image: "` + kube.PodImage + `", imagePullPolicy: Never}]
`

// Whatever happens to a node, it ends Ready by itself.
func TestBoots(t *testing.T) {
	b := newBed(t, kube.Setup{Nodes: 3, Proxy: "nftables"})
	n, renamed := b.Nodes[1], b.Nodes[2]
	stay := b.pods(t, b.Nodes[0], b.Nodes[0]) // where nothing happens
	c := converse(t, stay...)

	// The old Node, which has the same address, stays: it takes a while until the cluster calls it lost.
	renamed.Rename()
	b.restartKubelet(t, renamed)

	step := func(name string, do func(*testing.T)) {
		if !t.Run(name, do) {
			t.FailNow()
		}
	}
	step("rebooted while the API is away", func(t *testing.T) {
		must(t, n.Do(func() error { return os.WriteFile("/etc/kubernetes/manifests/static.yaml", []byte(staticPod), 0o600) }))
		static := &kube.Pod{Name: "static-" + n.Name()}
		old := b.pods(t, n)
		b.Plane().StopAPI()
		says := b.listen(t, n)
		must(t, n.Reboot(t.Context()))
		// Nobody starts the agent without the API. The configuration of before is there, and its plugin says that the network is not.
		t.Log(says(t, "NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: this node has no subnet for pods"))
		must(t, b.Plane().StartAPI(t.Context()))
		b.works(t, n, append(stay, b.again(t, append(old, static)...)...)...)
	})
	step("rebooted", func(t *testing.T) {
		old := b.pods(t, n)
		must(t, n.Reboot(t.Context()))
		b.works(t, n, append(stay, b.again(t, old...)...)...)
	})
	step("rebooted without a memory", func(t *testing.T) {
		binding := b.kubectl(t, "get", "clusterrolebinding", "weft", "-o", "yaml")
		b.kubectl(t, "delete", "clusterrolebinding", "weft")
		b.rebootWithoutMemory(t, n)
		eventually(t, "the configuration of before to be gone", func() error {
			_, err := os.Stat(filepath.Join(b.Dir(), n.Name(), confFile))
			if err == nil {
				return errors.New(confFile + " is there")
			}
			return nil
		})
		eventually(t, "the kubelet to say that there is no network", func() error {
			return mentions(b.kubectl(t, "describe", "node", n.Name()), "NetworkReady=false")
		})
		must(t, b.Apply(t.Context(), binding))
		b.works(t, n, stay...)
	})
	step("unplugged", func(t *testing.T) {
		old := b.pods(t, n, n)
		local := converse(t, old...)
		says := b.listen(t, n)
		must(t, n.Unplug())
		t.Log(says(t, "Failed to update lease"))
		must(t, n.Plug())
		b.works(t, n, append(stay, old...)...)
		local.end(t)
	})
	step("switched off until the peers forgot it", func(t *testing.T) {
		cidr := b.podCIDRs(t, n)[subnet.Inet].String()
		n.PowerOff()
		b.kubectl(t, "delete", "node", n.Name())
		eventually(t, "the peers to forget the node", func() error {
			out, err := b.Nodes[0].Run("ip", "route")
			if err == nil && strings.Contains(out, cidr) {
				err = errors.New(out)
			}
			return err
		})
		must(t, n.Boot(t.Context()))
		b.works(t, n, stay...)
	})
	step("Node made again", func(t *testing.T) {
		old := b.pods(t, n, n)
		local := converse(t, old...)
		cidr := b.podCIDRs(t, n)[subnet.Inet].String()
		b.Plane().StopControllers()
		b.kubectl(t, "delete", "node", n.Name())
		b.restartKubelet(t, n)
		patch := fmt.Sprintf(`{"spec":{"podCIDR":%q,"podCIDRs":[%q]}}`, cidr, cidr)
		eventually(t, "the Node", func() error {
			_, err := b.Kubectl(t.Context(), "patch", "node", n.Name(), "-p", patch)
			return err
		})
		must(t, b.Plane().StartControllers())
		b.works(t, n, append(stay, old...)...)
		local.end(t)
	})
	step("Node made again with another pod CIDR", func(t *testing.T) {
		old := b.pods(t, n, n)
		local := converse(t, old...)
		before := b.podCIDRs(t, n)
		b.kubectl(t, "delete", "node", n.Name())
		b.restartKubelet(t, n)
		b.works(t, n, stay...)
		if now := b.podCIDRs(t, n); now == before {
			t.Errorf("the pod CIDRs are %s again", now)
		}
		local.end(t)
		said := b.kubectl(t, "get", "events", "-n", "default", "--field-selector=reason=SubnetsChanged")
		if err := mentions(said, "no longer "+before.String()+": no other node reaches the pods that have addresses of these; delete these pods"); err != nil {
			t.Error(err)
		}
	})
	step("renamed", func(t *testing.T) {
		b.works(t, renamed, stay...)
		fresh := b.pods(t, renamed)
		far := converse(t, append(stay, fresh...)...)
		b.kubectl(t, "delete", "node", strings.TrimSuffix(renamed.Name(), "-renamed"))
		b.works(t, renamed, stay...)
		b.awaitAgents(t)
		far.end(t)
	})
	c.end(t)
}
