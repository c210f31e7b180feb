package e2e

import (
	"syscall"
	"testing"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

func TestUp(t *testing.T) {
	c := up(t, kube.Setup{Families: subnet.Families[:], Proxy: "nftables"})
	n := c.Nodes[0]
	show := func(name string, args ...string) {
		t.Helper()
		out, err := n.Run(name, args...)
		t.Log(out, err)
	}
	show("ip", "-br", "addr")
	show("ps", "ax")
	show("cat", "/proc/self/cgroup", "/proc/sys/kernel/random/boot_id")
	show("nft", "list", "tables")
	n.Kubelet.Stop(syscall.SIGTERM)
	if err := n.Kubelet.Start(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.Reboot(t.Context()); err != nil {
		t.Error(err)
	}
	show("cat", "/proc/self/cgroup", "/proc/sys/kernel/random/boot_id")
	show("mount")
	show("ls", "/var/lib/containerd", "/var/lib/kubelet", "/run", "/etc/cni", "/opt")
	show("ctr", "-n", "k8s.io", "images", "ls", "-q")
	out, err := c.Kubectl(t.Context(), "get", "nodes", "-o", "yaml")
	t.Log(out, err)
}
