package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// root is the root file system of one architecture.
type root struct {
	arch  string
	dir   string
	extra []entry // beside what is in dir
}

// entry is a file that is made, not found.
type entry struct {
	name string // from the root, without a leading slash
	text []byte
}

// made is the time of everything in an image, so that the same files make the same image.
var made = time.Unix(0, 0).UTC()

// roots returns the folders that the options name, one for each architecture.
func (o options) roots() ([]*root, error) {
	var roots []*root
	for _, arch := range o.arches {
		dir := o.root
		if len(o.arches) > 1 {
			dir = filepath.Join(o.root, arch)
		}
		if info, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("the root file system for %s: %w", arch, err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("the root file system for %s: %s is not a folder", arch, dir)
		}
		roots = append(roots, &root{arch: arch, dir: dir})
	}
	return roots, nil
}

// pack writes the root file system as a tar stream in which nothing depends on who packs it, when, and on which disk:
// all belongs to user 0, names are in order, and of the mode only the bits that matter stay.
func (r *root) pack(w io.Writer) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(r.dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == r.dir {
			return err
		}
		name, err := filepath.Rel(r.dir, file)
		if err != nil {
			return err
		}
		return packFile(t, filepath.ToSlash(name), file, d)
	})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range r.extra {
		if err := r.packExtra(t, e, seen); err != nil {
			return err
		}
	}
	return t.Close()
}

// packFile writes one file, folder or symbolic link.
func packFile(t *tar.Writer, name, file string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := header(name, 0o644)
	switch {
	case d.IsDir():
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, name+"/", 0o755
		if info.Mode()&fs.ModeSticky != 0 {
			h.Mode = 0o1777 // a folder such as /tmp
		}
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		if h.Linkname, err = os.Readlink(file); err != nil {
			return err
		}
	case info.Mode().IsRegular():
		h.Size = info.Size()
		if info.Mode()&0o111 != 0 {
			h.Mode = 0o755
		}
	default:
		return fmt.Errorf("%s is neither a file nor a folder nor a symbolic link", file)
	}
	if err := t.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(t, in)
	return err
}

// packExtra writes a file that is made, and the folders above it that the root does not have.
func (r *root) packExtra(t *tar.Writer, e entry, seen map[string]bool) error {
	var above []string
	for dir := path.Dir(e.name); dir != "."; dir = path.Dir(dir) {
		above = append([]string{dir}, above...)
	}
	for _, dir := range above {
		if _, err := os.Lstat(filepath.Join(r.dir, dir)); err == nil || seen[dir] {
			continue
		}
		seen[dir] = true
		h := header(dir+"/", 0o755)
		h.Typeflag = tar.TypeDir
		if err := t.WriteHeader(h); err != nil {
			return err
		}
	}
	h := header(e.name, 0o644)
	h.Size = int64(len(e.text))
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := t.Write(e.text)
	return err
}

func header(name string, mode int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, ModTime: made, Format: tar.FormatPAX}
}
