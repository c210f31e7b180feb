package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// FlannelVersion is the release of flannel that the module in the folder flannel is about.
const FlannelVersion = "v0.28.10"

// Flannel returns the folder with flanneld and with flannel's CNI plugin, which it fills first as Binaries does: that takes
// some minutes, and a C compiler. sources is the folder flannel beside this file.
func Flannel(ctx context.Context, sources string) (dir string, err error) {
	const plugin = "github.com/containernetworking/plugins/plugins/meta/flannel"
	names := []string{"go.mod", "go.sum", "plugin/go.mod", "plugin/go.sum"}
	return cached(ctx, "flannel-"+FlannelVersion, sources, names, func(dir string) error {
		if err := goBuild(ctx, filepath.Join(sources, "plugin"), filepath.Join(dir, "flannel"), "-ldflags", "-s -w", plugin); err != nil {
			return err
		}
		return buildFlanneld(ctx, sources, filepath.Join(dir, "flanneld"))
	})
}

// buildFlanneld builds the agent unless it is there. It is static, though one of its backends is written in C.
func buildFlanneld(ctx context.Context, sources, out string) error {
	const module = "github.com/flannel-io/flannel"
	if _, err := os.Stat(out); err == nil {
		return nil
	}
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "netgo,osusergo", "-o", out+".new", "-ldflags",
		"-s -w -linkmode external -extldflags -static -X "+module+"/pkg/version.Version="+FlannelVersion, module)
	c.Dir = sources
	c.Env = append(os.Environ(), "CGO_ENABLED=1", "GOWORK=off", "GOFLAGS=")
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build (is there a C compiler, with a static libc?): %w\n%s", err, text)
	}
	return os.Rename(out+".new", out)
}
