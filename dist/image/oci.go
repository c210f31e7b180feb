package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// write writes the tar file, by way of a file beside it, and returns the digest of what the reference names.
func (o options) write(roots []*root) (v1.Hash, error) {
	work, err := os.MkdirTemp(filepath.Dir(o.out), ".image-")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.RemoveAll(work)
	index, named, err := o.index(roots, work)
	if err != nil {
		return v1.Hash{}, err
	}
	dir := filepath.Join(work, "layout")
	if _, err := layout.Write(dir, index); err != nil {
		return v1.Hash{}, err
	}
	file := filepath.Join(work, "tar")
	if err := create(file, (&root{dir: dir}).pack); err != nil {
		return v1.Hash{}, err
	}
	return named, os.Rename(file, o.out)
}

// index returns what the tar file holds, and the digest of the one thing in it that has the reference: the image, or,
// for more than one architecture, the index of their images.
func (o options) index(roots []*root, work string) (v1.ImageIndex, v1.Hash, error) {
	var images []mutate.IndexAddendum
	for _, r := range roots {
		image, err := o.image(r, filepath.Join(work, r.arch+".tar"))
		if err != nil {
			return nil, v1.Hash{}, err
		}
		images = append(images, mutate.IndexAddendum{Add: image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: r.arch}}})
	}
	named := images[0]
	if len(images) > 1 {
		all := mutate.AppendManifests(oci(empty.Index), images...)
		named = mutate.IndexAddendum{Add: mutate.Annotations(all, o.labels()).(v1.ImageIndex)}
	}
	// containerd and skopeo take the reference from these.
	named.Annotations = map[string]string{"io.containerd.image.name": o.name, "org.opencontainers.image.ref.name": o.tag()}
	digest, err := named.Add.(interface{ Digest() (v1.Hash, error) }).Digest()
	return mutate.AppendManifests(oci(empty.Index), named), digest, err
}

func oci(i v1.ImageIndex) v1.ImageIndex { return mutate.IndexMediaType(i, types.OCIImageIndex) }

// image makes the image of one architecture; file is where its only layer may lie meanwhile.
func (o options) image(r *root, file string) (v1.Image, error) {
	if err := create(file, r.pack); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, o.config(r.arch))
	if err != nil {
		return nil, err
	}
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: made}, CreatedBy: "dist/image"}})
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, o.labels()).(v1.Image), nil
}

// config says how the image is run.
func (o options) config(arch string) *v1.ConfigFile {
	c := v1.Config{Env: o.env, Labels: o.labels(), Cmd: o.args}
	if o.entrypoint != "" {
		c.Entrypoint = []string{o.entrypoint}
	}
	return &v1.ConfigFile{OS: "linux", Architecture: arch, Created: v1.Time{Time: made}, Config: c,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}}
}

// labels are those that the image specification names, as far as they are known.
func (o options) labels() map[string]string {
	labels := map[string]string{}
	for key, value := range map[string]string{"version": o.version, "title": o.title, "licenses": o.licence, "source": o.source} {
		if value != "" {
			labels["org.opencontainers.image."+key] = value
		}
	}
	return labels
}

// tag is the part of the reference behind the repository.
func (o options) tag() string {
	if at := strings.LastIndex(o.name, ":"); at > strings.LastIndex(o.name, "/") {
		return o.name[at+1:]
	}
	return "latest"
}

// create writes a file with what fill writes.
func create(file string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(0o644))
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}
