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

// FlannelLabImage is what FlannelImage makes.
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
		return buildFlanneld(ctx, sources, filepath.Join(dir, "flanneld"))
	})
}

// buildFlanneld builds the agent unless it is there. It is static, though one of its backends is written in C.
func buildFlanneld(ctx context.Context, sources, out string) error {
	if _, err := os.Stat(out); err == nil {
		return nil
	}
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "netgo,osusergo", "-o", out+".new", "-ldflags",
		"-s -w -linkmode external -extldflags -static -X "+flannelModule+"/pkg/version.Version="+FlannelVersion, flannelModule)
	c.Dir = sources
	c.Env = append(os.Environ(), "CGO_ENABLED=1", "GOWORK=off", "GOFLAGS=")
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build (is there a C compiler, with a static libc?): %w\n%s", err, text)
	}
	return os.Rename(out+".new", out)
}

// FlannelImage makes an image of flannel in the folder out, as a file that Node.Import takes. It has what flannel's own images
// have at the same places, but for iptables. root is the top of a clone. It is called outside of what Inside makes, after
// Prepare with the same folder.
func FlannelImage(ctx context.Context, root, out string) (file string, err error) {
	dir, err := Flannel(ctx, filepath.Join(root, "lab/kube/flannel"))
	if err != nil {
		return "", err
	}
	files := map[string]string{}
	for name, place := range map[string]string{"flanneld": "opt/bin/flanneld", "install-conf": "opt/bin/install-conf", "flannel": "flannel"} {
		files[place] = filepath.Join(out, name)
		if err := run(ctx, out, "cp", filepath.Join(dir, name), files[place]); err != nil { // it may be on another file system
			return "", fmt.Errorf("making the image of flannel: %w", err)
		}
	}
	i := image{"flannel.tar", FlannelLabImage, []string{"/opt/bin/flanneld"}, files}
	if err := i.make(ctx, filepath.Join(out, "make-image"), out); err != nil {
		return "", fmt.Errorf("making the image of flannel: %w", err)
	}
	return filepath.Join(out, i.file), nil
}
