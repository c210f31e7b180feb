package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// pauseImage is the image of pods' sandboxes.
const pauseImage = "registry.k8s.io/pause:3.10"

// containerdConfig is that of every node. Root lacks CAP_SYS_RESOURCE in some containers, AppArmor may be missing.
const containerdConfig = `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "` + pauseImage + `"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "runc"
  SystemdCgroup = false
`

// program is a part of Kubernetes that runs on a node.
func program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(programDir, name), args...)
	cmd.Env = []string{roomy}
	return cmd
}

// file writes a file on the node's disk, and returns where it is, inside and out.
func (n *Node) file(name, text string) (string, error) {
	path := filepath.Join(n.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (n *Node) containerdCommand() (*exec.Cmd, error) {
	path, err := n.file("containerd.toml", containerdConfig)
	return program("containerd", "-c", path), err
}

// containerdReady tells whether containerd answers.
func (n *Node) containerdReady(context.Context) error {
	_, err := n.Run("ctr", "version")
	return err
}

// Import gives the node images from a file in the form of OCI.
func (n *Node) Import(file string) error {
	_, err := n.Run("ctr", "-n", "k8s.io", "images", "import", file)
	return err
}

func (n *Node) kubeletCommand() (*exec.Cmd, error) {
	var ips []string
	for _, f := range n.c.o.Families {
		ips = append(ips, n.addrs[f].String())
	}
	config, err := n.file("kubelet.yaml", fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %q
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: %s
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
resolvConf: ""
clusterDNS: []
clusterDomain: cluster.local
volumePluginDir: /var/lib/kubelet/volumeplugins
staticPodPath: /etc/kubernetes/manifests
evictionHard: {memory.available: "1Mi", nodefs.available: "1%%", imagefs.available: "1%%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
maxPods: %d
kubeAPIQPS: 200
kubeAPIBurst: 400
registerNode: true
nodeStatusUpdateFrequency: 2s
syncFrequency: 10s
configMapAndSecretChangeDetectionStrategy: Watch
`, unspecified(n.c.o.Families[0]), n.c.plane.file("ca.crt"), n.podCgroup(), maxPods))
	if err != nil {
		return nil, err
	}
	credentials := filepath.Join(n.dir, "kubelet.kubeconfig")
	if err := n.c.plane.kubeconfig(credentials, "system:node:"+n.object, n.c.server()); err != nil {
		return nil, err
	}
	return program("kubelet", "--config="+config, "--kubeconfig="+credentials, "--hostname-override="+n.object, "--node-ip="+strings.Join(ips, ","),
		"--housekeeping-interval=1m", "--v=2"), nil // what containers use is read for nobody: with many pods that is most of a kubelet's work
}

// podCgroup is the cgroup below which a kubelet makes those of pods, as the node sees it.
func (n *Node) podCgroup() string {
	if n.c.layout.unified {
		return "/"
	}
	return "/" + n.cgroupName()
}

// maxPods is how many pods a node takes: more than its subnet has addresses for.
const maxPods = 300

// unspecified is the address that means all addresses of both families, or of IPv4.
func unspecified(f subnet.Family) string { return [...]string{"0.0.0.0", "::"}[f] }

func (n *Node) proxyCommand() (*exec.Cmd, error) {
	credentials := filepath.Join(n.dir, "proxy.kubeconfig")
	if err := n.c.plane.kubeconfig(credentials, proxyUser, n.c.server()); err != nil {
		return nil, err
	}
	config, err := n.file("proxy.yaml", fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %s
clientConnection: {kubeconfig: %q}
clusterCIDR: %q
hostnameOverride: %s
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
`, n.c.o.Proxy, credentials, n.c.podCIDRs(), n.object))
	return program("kube-proxy", "--config="+config, "--v=2"), err
}

// proxyUser is as whom kube-proxy asks the API.
const proxyUser = "system:kube-proxy"
