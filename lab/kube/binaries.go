package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Version is the release of Kubernetes that the binary in the folder kubebin is.
const Version = "v1.37.0"

// components are the names by which the one binary is called.
func components() []string {
	return []string{"etcd", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"}
}

// Binaries returns the folder with the components of Kubernetes, which it fills first if nobody has: that takes ten
// minutes and more, needs the module proxy, and is done once for a version of the sources, which are the folder kubebin
// beside this file. It may be called by several processes at once.
func Binaries(ctx context.Context, sources string) (dir string, err error) {
	return cached(ctx, "kube-"+Version, sources, []string{"main.go", "go.mod", "go.sum"}, func(dir string) error { return build(ctx, sources, dir) })
}

// Containerd returns the folder with the container runtime, which it fills first as Binaries does: that takes two minutes.
// sources is the folder containerd beside this file.
func Containerd(ctx context.Context, sources string) (dir string, err error) {
	const programs = "bin"
	dir, err = cached(ctx, "containerd", sources, []string{"go.mod", "go.sum"}, func(dir string) error {
		return goBuild(ctx, sources, filepath.Join(dir, programs), "-tags", "no_btrfs,no_zfs,no_devmapper,no_aufs", "-ldflags", "-s -w", "tool")
	})
	return filepath.Join(dir, programs), err
}

// cached returns the folder in the user's cache for what is built from the named files of sources, and has it built
// where it was not yet.
func cached(ctx context.Context, kind, sources string, names []string, make func(dir string) error) (dir string, err error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("building %s: %w", kind, err) }
	if dir, err = cacheFolder(kind, sources, names); err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fail(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return fail(err)
	}
	defer lock.Close() // which unlocks it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fail(fmt.Errorf("waiting for another who does: %w", err))
	}
	if err := make(dir); err != nil {
		return fail(err)
	}
	return dir, nil
}

// cacheFolder is where what is made of these sources is kept.
func cacheFolder(kind, sources string, names []string) (string, error) {
	sum := sha256.New()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(sources, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
	}
	fmt.Fprint(sum, runtime.GOOS, runtime.GOARCH)
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "weft", kind+"-"+hex.EncodeToString(sum.Sum(nil))[:12]), nil
}

// build makes the binary, if it is not there, and its names.
func build(ctx context.Context, sources, dir string) error {
	binary := filepath.Join(dir, "kubebin")
	if err := goBuild(ctx, sources, binary, "-ldflags", versionFlags(), "."); err != nil {
		return err
	}
	var errs []error
	for _, name := range components() {
		if err := os.Symlink("kubebin", filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// versionFlags make the components say which version they are.
func versionFlags() string {
	flags := "-s -w"
	major, minor, _ := strings.Cut(strings.TrimPrefix(Version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitTreeState=clean", p, Version, major, minor)
	}
	return flags
}

// goBuild builds binaries without C from the module in sources: the file, or for more than one package the folder, at out,
// unless that is there.
func goBuild(ctx context.Context, sources, out string, args ...string) error {
	return goBuildWith(ctx, "CGO_ENABLED=0", sources, out, args...)
}

// goBuildWith is goBuild with another environment variable.
func goBuildWith(ctx context.Context, variable, sources, out string, args ...string) error {
	if _, err := os.Stat(out); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made := out + ".new"
	if args[len(args)-1] == "tool" {
		made += "/"
	}
	c := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false", "-o", made}, args...)...)
	c.Dir = sources
	c.Env = append(os.Environ(), variable, "GOWORK=off", "GOFLAGS=")
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build with %s: %w\n%s", variable, err, text)
	}
	return os.Rename(filepath.Clean(made), out)
}
