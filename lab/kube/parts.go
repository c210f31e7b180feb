package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Parts are the programs and images that a cluster is made of.
type Parts struct {
	Kubernetes string   // folder with the components
	Containerd string   // folder with containerd, its shim and ctr
	Runc       string   // program
	Pod        string   // program of the pods' image
	Images     []string // files that every node gets
}

// The images that Prepare makes.
const (
	WeftImage = "docker.io/library/weft:latest" // what dist/kubernetes/weft.yaml names
	PodImage  = "docker.io/weft-lab/pod:latest" // the program in lab/kube/pod
)

// Prepare builds what a cluster is made of from the sources at root, which is the top of a clone: Kubernetes and containerd
// where they are not in the cache, and the images in the folder out. bin is a folder as make build fills it. It needs the
// module proxy where something is built for the first time, so it is called outside of what Inside makes.
func Prepare(ctx context.Context, root, bin, out string, progress func(string)) (p Parts, err error) {
	if p.Runc, err = exec.LookPath("runc"); err != nil {
		return p, errors.New("nodes need runc, which is not installed: apt-get install runc")
	}
	progress("building Kubernetes " + Version + ", unless it is there already (10 minutes)")
	if p.Kubernetes, err = Binaries(ctx, filepath.Join(root, "lab/kube/kubebin")); err != nil {
		return p, err
	}
	progress("building containerd, unless it is there already (2 minutes)")
	if p.Containerd, err = Containerd(ctx, filepath.Join(root, "lab/kube/containerd")); err != nil {
		return p, err
	}
	progress("making the images of Weft and of the pods")
	p.Pod = filepath.Join(out, "pod")
	if err = run(ctx, root, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", p.Pod, "./lab/kube/pod"); err != nil {
		return p, err
	}
	if p.Images, err = makeImages(ctx, root, bin, p.Pod, out); err != nil {
		return p, fmt.Errorf("making images: %w", err)
	}
	return p, nil
}

// link puts the names of the programs into dir.
func (p Parts) link(dir string) error {
	var errs []error
	for _, from := range []string{p.Kubernetes, p.Containerd} {
		entries, err := os.ReadDir(from)
		errs = append(errs, err)
		for _, e := range entries {
			if e.Name() != "lock" {
				errs = append(errs, os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())))
			}
		}
	}
	errs = append(errs, os.Symlink(p.Runc, filepath.Join(dir, "runc")), os.Symlink(p.Pod, filepath.Join(dir, "pod")))
	return errors.Join(errs...)
}

// image is an image that is made of files of this machine.
type image struct {
	file, name string
	command    []string          // of containers that do not say another one
	files      map[string]string // path in the image: path here
}

// makeImages makes the images as files in out.
func makeImages(ctx context.Context, root, bin, pod, out string) ([]string, error) {
	maker := filepath.Join(out, "make-image")
	if err := run(ctx, filepath.Join(root, "dist/image"), "go", "build", "-o", maker, "."); err != nil {
		return nil, err
	}
	weft := map[string]string{"usr/local/bin/weftd": filepath.Join(bin, "weftd"), "usr/local/bin/weftctl": filepath.Join(bin, "weftctl")}
	plugins, err := os.ReadDir(filepath.Join(bin, "cni"))
	if err != nil {
		return nil, err
	}
	for _, e := range plugins {
		weft["opt/cni/bin/"+e.Name()] = filepath.Join(bin, "cni", e.Name())
	}
	var files []string
	for _, i := range []image{
		{"pause.tar", pauseImage, []string{"/pod", "pause"}, map[string]string{"pod": pod}},
		{"pod.tar", PodImage, []string{"/pod", "serve"}, map[string]string{"pod": pod}},
		{"weft.tar", WeftImage, []string{"/usr/local/bin/weftd"}, weft},
	} {
		if err := i.make(ctx, maker, out); err != nil {
			return nil, err
		}
		files = append(files, filepath.Join(out, i.file))
	}
	return files, nil
}

// make makes the image.
func (i image) make(ctx context.Context, maker, out string) error {
	root, err := os.MkdirTemp(out, "root-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	for to, from := range i.files {
		to = filepath.Join(root, to)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Link(from, to)); err != nil {
			return err
		}
	}
	args := []string{"-name", i.name, "-version", "lab", "-arch", runtime.GOARCH, "-root", root, "-out", filepath.Join(out, i.file), "-entrypoint", i.command[0]}
	return run(ctx, out, maker, append(args, i.command[1:]...)...)
}

// run runs a program that has to succeed.
func run(ctx context.Context, dir, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return nil
}
