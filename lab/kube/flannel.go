package kube

import (
	"context"
	"fmt"
	"path/filepath"
)

// FlannelVersion is the release of flannel that the module in the folder flannel is about.
const FlannelVersion = "v0.28.10"

// FlannelLabImage is what Parts.MakeFlannel makes.
const FlannelLabImage = "docker.io/weft-lab/flannel:" + FlannelVersion

// flannelModule is where flanneld comes from.
const flannelModule = "github.com/flannel-io/flannel"

// Flannel returns the folder with flanneld, with flannel's CNI plugin and with the program that installs its CNI
// configuration. It fills it first as Binaries does: that takes some minutes, and a C compiler. sources is the folder flannel
// beside this file.
func Flannel(ctx context.Context, sources string) (dir string, err error) {
	const plugin = "github.com/containernetworking/plugins/plugins/meta/flannel"
	names := []string{"go.mod", "go.sum", "plugin/go.mod", "plugin/go.sum"}
	return cached(ctx, "flannel-"+FlannelVersion, sources, names, func(dir string) error {
		if err := goBuild(ctx, filepath.Join(sources, "plugin"), filepath.Join(dir, "flannel"), "-ldflags", "-s -w", plugin); err != nil {
			return err
		}
		if err := goBuild(ctx, sources, filepath.Join(dir, "install-conf"), "-ldflags", "-s -w", flannelModule+"/cmd/install_conf"); err != nil {
			return err
		}
		// The agent is static, though one of its backends is written in C.
		err := goBuildWith(ctx, "CGO_ENABLED=1", sources, filepath.Join(dir, "flanneld"), "-tags", "netgo,osusergo", "-ldflags",
			"-s -w -linkmode external -extldflags -static -X "+flannelModule+"/pkg/version.Version="+FlannelVersion, flannelModule)
		if err != nil {
			return fmt.Errorf("build flanneld (is there a C compiler, with a static libc?): %w", err)
		}
		return nil
	})
}

// MakeFlannel makes an image of flannel in the folder out, as a file that Node.Import takes. It has what flannel's own images
// have at the same places, but for iptables. root is the top of a clone. It is called outside of what Inside makes.
func (p *Parts) MakeFlannel(ctx context.Context, root, out string) (file string, err error) {
	dir, err := Flannel(ctx, filepath.Join(root, "lab/kube/flannel"))
	if err != nil {
		return "", err
	}
	files := map[string]string{"opt/bin/flanneld": filepath.Join(dir, "flanneld"), "opt/bin/install-conf": filepath.Join(dir, "install-conf"),
		"flannel": filepath.Join(dir, "flannel")}
	i := image{"flannel.tar", FlannelLabImage, []string{"/opt/bin/flanneld"}, files}
	if err := i.make(ctx, p.ImageMaker, out); err != nil {
		return "", fmt.Errorf("making the image of flannel: %w", err)
	}
	return filepath.Join(out, i.file), nil
}
