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
	if dir, err = cacheFolder(sources); err != nil {
		return "", fmt.Errorf("building Kubernetes: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("building Kubernetes: %w", err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("building Kubernetes: %w", err)
	}
	defer lock.Close() // which unlocks it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("building Kubernetes: waiting for another who does: %w", err)
	}
	if err := build(ctx, sources, dir); err != nil {
		return "", fmt.Errorf("building Kubernetes: %w", err)
	}
	return dir, nil
}

// cacheFolder is where the binary of these sources is kept.
func cacheFolder(sources string) (string, error) {
	sum := sha256.New()
	for _, name := range []string{"main.go", "go.mod", "go.sum"} {
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
	return filepath.Join(cache, "weft", "kube-"+Version+"-"+hex.EncodeToString(sum.Sum(nil))[:12]), nil
}

// build makes the binary, if it is not there, and its names.
func build(ctx context.Context, sources, dir string) error {
	binary := filepath.Join(dir, "kubebin")
	if _, err := os.Stat(binary); errors.Is(err, fs.ErrNotExist) {
		if err := compile(ctx, sources, binary); err != nil {
			return err
		}
	} else if err != nil {
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

// compile builds the sources. It leaves a processor to others.
func compile(ctx context.Context, sources, binary string) error {
	flags := "-s -w"
	major, minor, _ := strings.Cut(strings.TrimPrefix(Version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitTreeState=clean", p, Version, major, minor)
	}
	parallel := fmt.Sprint(max(1, runtime.NumCPU()-1))
	c := exec.CommandContext(ctx, "nice", "-n", "19", "go", "build", "-p", parallel, "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", binary+".new", ".")
	c.Dir = sources
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.Rename(binary+".new", binary)
}
