package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Manifest is what installs Weft, as it is in the clone at root.
func Manifest(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "dist/kubernetes/weft.yaml"))
	if err != nil {
		return "", fmt.Errorf("read the manifest: %w", err)
	}
	return string(text), nil
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
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=120s", "node", "--all")
	if err != nil {
		text, _ := c.Kubectl(ctx, "describe", "nodes")
		pods, _ := c.Kubectl(ctx, "get", "pods", "-A", "-o", "wide")
		return fmt.Errorf("%w\n%s\n%s", err, pods, text)
	}
	return nil
}
