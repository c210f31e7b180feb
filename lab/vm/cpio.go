package vm

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// cpio writes an archive as the kernel reads it at boot ("newc"). Several of them, one after the other, are one file
// system; what comes later wins. All in it belongs to root. The first error of a write stays and is returned by close.
type cpio struct {
	w    io.Writer
	ino  int
	dirs map[string]bool // that are in it
	err  error
}

func newCPIO(w io.Writer) *cpio { return &cpio{w: w, dirs: map[string]bool{"": true}} }

// Types of files, as stat(2) has them.
const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

// dir adds a folder and those that it is in, unless they are there.
func (c *cpio) dir(name string, perm fs.FileMode) {
	name = place(name)
	if c.dirs[name] {
		return
	}
	c.dirs[name] = true
	c.dir(path.Dir(name), 0o755)
	c.entry(name, typeDir|int(perm.Perm()), 0, nil)
}

// link adds a symbolic link.
func (c *cpio) link(name, target string) {
	name = place(name)
	c.dir(path.Dir(name), 0o755)
	c.entry(name, typeLink|0o777, int64(len(target)), strings.NewReader(target))
}

// file adds a file of size bytes, which are read from r.
func (c *cpio) file(name string, perm fs.FileMode, size int64, r io.Reader) {
	name = place(name)
	c.dir(path.Dir(name), 0o755)
	c.entry(name, typeFile|int(perm.Perm()), size, r)
}

// text adds a file with that text.
func (c *cpio) text(name string, perm fs.FileMode, text string) {
	c.file(name, perm, int64(len(text)), strings.NewReader(text))
}

// entry writes one entry: a header of thirteen numbers, the name and the content, each filled up to four bytes.
func (c *cpio) entry(name string, mode int, size int64, r io.Reader) {
	if c.err == nil && size > 0xffffffff {
		c.err = fmt.Errorf("%s is too big for the archive: %d bytes", name, size)
	}
	c.ino++
	header := "070701"
	for _, n := range []int64{int64(c.ino), int64(mode), 0, 0, 1, 0, size, 0, 0, 0, 0, int64(len(name) + 1), 0} {
		header += fmt.Sprintf("%08X", n)
	}
	c.copy(strings.NewReader(header+name+"\x00"), int64(len(header)+len(name)+1))
	if r != nil {
		c.copy(r, size)
	}
}

// copy writes size bytes of r, filled up to four.
func (c *cpio) copy(r io.Reader, size int64) {
	if c.err != nil {
		return
	}
	if _, c.err = io.CopyN(c.w, r, size); c.err == nil {
		_, c.err = c.w.Write(make([]byte, (4-size%4)%4))
	}
}

// close ends the archive and returns the first error.
func (c *cpio) close() error {
	c.entry("TRAILER!!!", 0, 0, nil)
	return c.err
}

// place is where a file of a Debian package is in the guest: the top's bin, lib and so on are links into usr.
func place(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	first, rest, deeper := strings.Cut(name, "/")
	switch first {
	case "bin", "sbin", "lib", "lib64":
		if deeper {
			return "usr/" + first + "/" + rest
		}
	}
	return name
}

// tar adds what is in a tar archive, but for what skip says. Links among files become symbolic ones.
func (c *cpio) tar(r io.Reader, skip func(name string) bool) error {
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return c.err
		} else if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)[1:]
		if name == "" || skip(name) {
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
			if strings.Contains(name, "/") { // those at the top, which may be links, are made by the caller
				c.dir(name, h.FileInfo().Mode())
			}
		case tar.TypeSymlink:
			c.link(name, h.Linkname)
		case tar.TypeLink:
			c.link(name, path.Clean("/"+h.Linkname))
		case tar.TypeReg:
			c.file(name, h.FileInfo().Mode(), h.Size, archive)
		}
	}
}

// tree adds the file or folder from of this machine at to.
func (c *cpio) tree(from, to string) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		return c.one(p, path.Join(to, filepath.ToSlash(rel)), d)
	})
}

// one adds a single file, folder or link of this machine; others, like sockets, it leaves out.
func (c *cpio) one(from, to string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		c.dir(to, info.Mode())
	case d.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		c.link(to, target)
	case d.Type().IsRegular():
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		c.file(to, info.Mode(), info.Size(), f)
	}
	return c.err
}
