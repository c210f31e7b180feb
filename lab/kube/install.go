package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// Manifest is what installs Weft, as it is in the clone at root.
func Manifest(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "dist/kubernetes/weft.yaml"))
	if err != nil {
		return "", fmt.Errorf("read the manifest: %w", err)
	}
	return string(text), nil
}

// WithNetConf puts another network config into the manifest.
func WithNetConf(manifest, netConf string) (string, error) {
	const key, next = "  net-conf.json: |\n", "  cni-conf.json: |\n"
	head, rest, ok := strings.Cut(manifest, key)
	_, tail, ok2 := strings.Cut(rest, next)
	if !ok || !ok2 {
		return "", errors.New("the manifest has no net-conf.json with cni-conf.json behind it")
	}
	var text strings.Builder
	for line := range strings.Lines(strings.TrimSpace(netConf) + "\n") {
		text.WriteString("    " + line)
	}
	return head + key + text.String() + next + tail, nil
}

// Manifest is what installs Weft in this cluster: that of the clone at root, with the cluster's families, and the address of
// the API server where no kube-proxy makes Services reachable.
func (c *Cluster) Manifest(root string) (string, error) {
	manifest, err := Manifest(root)
	if err != nil {
		return "", err
	}
	if c.o.Proxy == "" {
		const flag = "            - --kube-subnet-mgr\n"
		manifest = strings.Replace(manifest, flag, flag+"            - --kube-api-url="+c.server()+"\n", 1)
	}
	return WithNetConf(manifest, c.netConf())
}

// netConf is the network config for the cluster's pod networks.
func (c *Cluster) netConf() string {
	keys := []string{`"Backend": {"Type": "vxlan"}`, `"EnableIPv4": false`}
	for _, f := range c.o.Families {
		if f == subnet.Inet {
			keys[1] = fmt.Sprintf(`"Network": %q`, podNetworks[f])
		} else {
			keys = append(keys, `"EnableIPv6": true`, fmt.Sprintf(`"IPv6Network": %q`, podNetworks[f]))
		}
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

// Install applies a manifest that brings the pod network, and waits until every node is Ready.
func (c *Cluster) Install(ctx context.Context, manifest string) error {
	if err := c.Apply(ctx, manifest); err != nil {
		return fmt.Errorf("install the pod network: %w", err)
	}
	if err := c.WaitReady(ctx); err != nil {
		return fmt.Errorf("install the pod network: %w", err)
	}
	c.o.Progress("the pod network is installed, all nodes are Ready")
	return nil
}

// WaitReady waits until every node is Ready. The error says what the nodes say of themselves.
func (c *Cluster) WaitReady(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Ready", inTime, "node", "--all")
	if err != nil {
		text, _ := c.Kubectl(ctx, "describe", "nodes")
		pods, _ := c.Kubectl(ctx, "get", "pods", "-A", "-o", "wide")
		return fmt.Errorf("%w\n%s\n%s", err, pods, text)
	}
	return nil
}

// LastWords is what the agents on the nodes, and the kubelets, said last.
func (c *Cluster) LastWords() string {
	var text strings.Builder
	for _, n := range c.Nodes {
		agent, err := n.Run("sh", "-c", "tail -n 40 /var/log/pods/weft-system_*/*/*.log")
		if err != nil {
			agent = err.Error()
		}
		fmt.Fprintf(&text, "%[1]s, agent:\n%[2]s\n%[1]s, kubelet:\n%[3]s\n", n.name, agent, n.Kubelet.Log())
	}
	return text.String()
}
