package vm

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unpack reads an archive: one line for each entry.
func unpack(t *testing.T, archive []byte) string {
	t.Helper()
	var b strings.Builder
	number := func(at, field int) int {
		n, err := strconv.ParseInt(string(archive[at+6+8*field:at+14+8*field]), 16, 64)
		must(t, err)
		return int(n)
	}
	up := func(n int) int { return (n + 3) / 4 * 4 }
	for at := 0; at < len(archive); {
		mode, size, length := number(at, 1), number(at, 6), number(at, 11)
		name := string(archive[at+110 : at+110+length-1])
		content := up(at + 110 + length)
		fmt.Fprintf(&b, "%o %s %q\n", mode, name, archive[content:content+size])
		at = up(content + size)
	}
	return b.String()
}

func TestArchive(t *testing.T) {
	var out, in bytes.Buffer
	w := tar.NewWriter(&in)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin/ip", Typeflag: tar.TypeReg, Mode: 0o755, Size: 3},
		{Name: "./sbin/ip", Typeflag: tar.TypeSymlink, Linkname: "/bin/ip", Mode: 0o777},
		{Name: "./usr/bin/zcat", Typeflag: tar.TypeLink, Linkname: "./bin/ip"},
		{Name: "./usr/share/doc/ip/README", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3},
		{Name: "./etc/deep/conf", Typeflag: tar.TypeReg, Mode: 0o600, Size: 3},
	} {
		must(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write([]byte("abc"))
			must(t, err)
		}
	}
	must(t, w.Close())
	c := newCPIO(&out)
	must(t, c.tar(&in, isText))
	c.text("init", 0o755, "#!/bin/sh\n")
	must(t, c.close())
	want := `40755 usr ""
40755 usr/bin ""
100755 usr/bin/ip "abc"
40755 usr/sbin ""
120777 usr/sbin/ip "/bin/ip"
120777 usr/bin/zcat "/bin/ip"
40755 etc ""
40755 etc/deep ""
100600 etc/deep/conf "abc"
100755 init "#!/bin/sh\n"
0 TRAILER!!! ""
`
	if diff := cmp.Diff(want, unpack(t, out.Bytes())); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
}

func TestArchiveOfTree(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "sub", "run"), []byte("x"), 0o755))
	must(t, os.Symlink("sub/run", filepath.Join(dir, "link")))
	var out bytes.Buffer
	c := newCPIO(&out)
	must(t, c.tree(dir, "/root/data"))
	must(t, c.tree(filepath.Join(dir, "link"), "/root/run"))
	must(t, c.close())
	want := `40755 root ""
40755 root/data ""
120777 root/data/link "sub/run"
40755 root/data/sub ""
100755 root/data/sub/run "x"
100755 root/run "x"
0 TRAILER!!! ""
`
	if diff := cmp.Diff(want, unpack(t, out.Bytes())); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
	if err := c.tree(filepath.Join(dir, "missing"), "/root/x"); err == nil {
		t.Error("no error for what is not there")
	}
}

func TestArchiveFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	c := newCPIO(full)
	c.text("x", 0o644, "y")
	if err := c.close(); err == nil {
		t.Error("no error from a full disk")
	}
}
