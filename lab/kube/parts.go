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
	"time"

	"golang.org/x/sync/errgroup"
)

// Parts are the programs and images that a cluster is made of.
type Parts struct {
	Kubernetes string   // folder with the components
	Containerd string   // folder with containerd, its shim and ctr
	Runc       string   // program
	Pod        string   // program of the pods' image
	Weftctl    string   // program, for nodes
	Images     []string // files that every node gets
	ImageMaker string   // program that makes images
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
	err = patiently(progress, "building Kubernetes "+Version+" from its modules: 10 minutes and more, once", func() error {
		p.Kubernetes, err = Binaries(ctx, filepath.Join(root, "lab/kube/kubebin"))
		return err
	})
	if err != nil {
		return p, err
	}
	err = patiently(progress, "building containerd from its modules: 2 minutes, once", func() error {
		p.Containerd, err = Containerd(ctx, filepath.Join(root, "lab/kube/containerd"))
		return err
	})
	if err != nil {
		return p, err
	}
	progress("making the images of Weft and of the pods")
	p.Pod, p.Weftctl = filepath.Join(out, "pod"), filepath.Join(bin, "weftctl")
	if err = run(ctx, root, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", p.Pod, "./lab/kube/pod"); err != nil {
		return p, err
	}
	p.ImageMaker = filepath.Join(out, "make-image")
	if err := run(ctx, filepath.Join(root, "dist/image"), "go", "build", "-o", p.ImageMaker, "."); err != nil {
		return p, fmt.Errorf("making images: %w", err)
	}
	if err := p.makeImages(ctx, bin, out); err != nil {
		return p, fmt.Errorf("making images: %w", err)
	}
	return p, nil
}

// patiently does something that is mostly done already. When it is not, what is said first, and then every minute that it
// still is being done.
func patiently(progress func(string), what string, do func() error) error {
	done, said := make(chan struct{}), errgroup.Group{}
	said.Go(func() error {
		soon := time.NewTimer(time.Second)
		defer soon.Stop()
		select {
		case <-done:
			return nil
		case <-soon.C:
			progress(what)
		}
		each := time.NewTicker(time.Minute)
		defer each.Stop()
		for minutes := 1; ; minutes++ {
			select {
			case <-done:
				return nil
			case <-each.C:
				progress(fmt.Sprintf("  at work for %d min", minutes))
			}
		}
	})
	err := do()
	close(done)
	return errors.Join(err, said.Wait())
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
	errs = append(errs, os.Symlink(p.Runc, filepath.Join(dir, "runc")), os.Symlink(p.Weftctl, filepath.Join(dir, "weftctl")),
		copyProgram(p.Pod, filepath.Join(dir, "pod")))
	return errors.Join(errs...)
}

// copyProgram copies a program, which may be removed afterwards.
func copyProgram(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// image is an image that is made of files of this machine.
type image struct {
	file, name string
	command    []string          // of containers that do not say another one
	files      map[string]string // path in the image: path here
}

// makeImages makes the images that every node gets as files in out.
func (p *Parts) makeImages(ctx context.Context, bin, out string) error {
	for _, i := range []image{
		{"pause.tar", pauseImage, []string{"/pod", "pause"}, map[string]string{"pod": p.Pod}},
		{"pod.tar", PodImage, []string{"/pod", "serve"}, map[string]string{"pod": p.Pod}},
	} {
		if err := i.make(ctx, p.ImageMaker, out); err != nil {
			return err
		}
		p.Images = append(p.Images, filepath.Join(out, i.file))
	}
	weft, err := p.MakeWeft(ctx, WeftImage, bin, out)
	p.Images = append(p.Images, weft)
	return err
}

// MakeWeft makes an image of Weft from a folder as make build fills it, and returns its file in the folder out.
func (p *Parts) MakeWeft(ctx context.Context, name, bin, out string) (string, error) {
	files := map[string]string{"usr/local/bin/weftd": filepath.Join(bin, "weftd"), "usr/local/bin/weftctl": filepath.Join(bin, "weftctl")}
	plugins, err := os.ReadDir(filepath.Join(bin, "cni"))
	if err != nil {
		return "", err
	}
	for _, e := range plugins {
		files["opt/cni/bin/"+e.Name()] = filepath.Join(bin, "cni", e.Name())
	}
	i := image{"weft.tar", name, []string{"/usr/local/bin/weftd"}, files}
	return filepath.Join(out, i.file), i.make(ctx, p.ImageMaker, out)
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
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), copyProgram(from, to)); err != nil {
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
