package vm

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files of the cached folders.
const (
	kernelFile  = "vmlinux"
	archiveFile = "root.cpio"
)

// guestParts returns the folder with a kernel of the series and the one with the packages. Lists of packages that are old, or
// not there, name no packages that can be downloaded: then it fetches some.
func guestParts(ctx context.Context, series string, packages []string) (kernel, programs string, err error) {
	kernel, programs, err = (source{}).parts(ctx, series, packages)
	if err == nil || ctx.Err() != nil {
		return kernel, programs, err
	}
	today := time.Now().UTC().Format(time.DateOnly)
	lists, failed := cached(ctx, "lists", []string{today}, func(dir string) error { return fetchLists(ctx, dir) })
	if failed == nil {
		kernel, programs, failed = source{lists}.parts(ctx, series, packages)
	}
	if failed != nil {
		return "", "", fmt.Errorf("%w\nand with newer lists of packages: %w", err, failed)
	}
	return kernel, programs, nil
}

func (s source) parts(ctx context.Context, series string, packages []string) (kernel, programs string, err error) {
	if kernel, err = s.kernelFor(ctx, series); err != nil {
		return "", "", fmt.Errorf("kernel %s for a virtual machine: %w", series, err)
	}
	if programs, err = s.programsFor(ctx, packages); err != nil {
		return "", "", fmt.Errorf("programs for a virtual machine: %w", err)
	}
	return kernel, programs, nil
}

// kernelFor returns the folder with a kernel of the series and the archive of its modules.
func (s source) kernelFor(ctx context.Context, series string) (dir string, err error) {
	d, err := s.kernel(ctx, series)
	if err != nil {
		return "", err
	}
	return cached(ctx, "linux-"+series, append([]string{d.name, d.version}, modules...), func(dir string) error {
		return s.unpackKernel(ctx, dir, d)
	})
}

// programsFor returns the folder with the archive of the packages and all that they depend on.
func (s source) programsFor(ctx context.Context, packages []string) (dir string, err error) {
	slices.Sort(packages)
	debs, err := s.resolve(ctx, slices.Compact(packages))
	if err != nil {
		return "", err
	}
	var parts []string
	for _, d := range debs {
		parts = append(parts, d.name+"="+d.version)
	}
	return cached(ctx, "programs", parts, func(dir string) error { return s.unpackPrograms(ctx, dir, debs) })
}

// unpackPrograms makes the archive with the top of the file system and what is in the packages.
func (s source) unpackPrograms(ctx context.Context, dir string, debs []deb) error {
	downloads := filepath.Join(dir, "debs")
	if err := os.Mkdir(downloads, 0o755); err != nil {
		return err
	}
	files, err := s.download(ctx, downloads, debs)
	if err != nil {
		return err
	}
	return errors.Join(archive(filepath.Join(dir, archiveFile), func(c *cpio) error {
		top(c)
		for _, file := range files {
			if err := addPackage(ctx, c, file); err != nil {
				return fmt.Errorf("unpacking %s: %w", filepath.Base(file), err)
			}
		}
		choose(c)
		return nil
	}), os.RemoveAll(downloads))
}

// archive writes the file with what fill adds.
func archive(file string, fill func(*cpio) error) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	c := newCPIO(w)
	err = fill(c)
	return errors.Join(err, c.close(), w.Flush(), f.Close())
}

// top adds what no package has: the links of a Debian machine's top folder, and a few files that programs look for.
func top(c *cpio) {
	for _, dir := range []string{"proc", "sys", "dev", "run", "etc", "out", "var", "var/lib", "usr/lib/busybox", "usr/lib64"} {
		c.dir(dir, 0o755)
	}
	c.dir("root", 0o700)
	c.dir("tmp", 0o777)
	c.dir("var/tmp", 0o777)
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		c.entry(dir, typeLink|0o777, int64(len("usr/"+dir)), strings.NewReader("usr/"+dir))
	}
	c.link("var/run", "../run")
	c.text("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"+
		"tcpdump:x:100:100:tcpdump:/:/bin/false\n")
	c.text("etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\ntcpdump:x:100:\n")
	c.text("etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n")
	c.text("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files\n")
}

// choose adds the links that packages leave to the scripts that run when they are installed.
func choose(c *cpio) {
	c.link("usr/bin/sh", "dash")
	for _, p := range []string{"iptables", "ip6tables"} {
		for _, end := range []string{"", "-save", "-restore"} {
			c.link("usr/sbin/"+p+end, "xtables-nft-multi")
		}
	}
}

// addPackage adds the files of a downloaded package, but for those that are there to be read by people or compilers.
func addPackage(ctx context.Context, c *cpio, file string) error {
	return readPackage(ctx, file, func(r io.Reader) error { return c.tar(r, isText) })
}

func isText(name string) bool {
	return slices.ContainsFunc([]string{"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/",
		"usr/share/bash-completion/", "usr/share/perl", "usr/share/bug/", "usr/lib/x86_64-linux-gnu/gconv/", "usr/lib/x86_64-linux-gnu/perl"},
		func(dir string) bool { return strings.HasPrefix(place(name)+"/", dir) })
}

// readPackage calls f with the tar archive of a package's files.
func readPackage(ctx context.Context, file string, f func(io.Reader) error) error {
	return piped(exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file), f)
}

// piped calls f with what the command writes, and waits for it.
func piped(c *exec.Cmd, f func(io.Reader) error) error {
	var errs strings.Builder
	c.Stderr = &errs
	r, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	err = f(r)
	_, rest := io.Copy(io.Discard, r)
	if waited := c.Wait(); waited != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w: %s", filepath.Base(c.Path), waited, strings.TrimSpace(errs.String())))
	}
	return errors.Join(err, rest)
}

// modules are the folders below a kernel's lib/modules/VERSION/kernel whose modules a guest has.
var modules = []string{"arch/x86/crypto", "crypto", "drivers/char/hw_random", "drivers/net/bareudp", "drivers/net/bonding", "drivers/net/dummy",
	"drivers/net/geneve", "drivers/net/ifb", "drivers/net/ipvlan", "drivers/net/macvlan", "drivers/net/macvtap", "drivers/net/nlmon", "drivers/net/tap",
	"drivers/net/tun", "drivers/net/veth", "drivers/net/vrf", "drivers/net/vxlan", "drivers/net/wireguard", "drivers/virtio", "fs/fuse", "fs/overlayfs",
	"lib", "net/802", "net/8021q", "net/bridge", "net/core", "net/ipv4", "net/ipv6", "net/key", "net/llc", "net/mpls", "net/netfilter", "net/netlink",
	"net/packet", "net/psample", "net/sched", "net/tls", "net/xfrm"}

// isModule tells whether a file of a kernel's package is a module that a guest has.
func isModule(name string) bool {
	_, rest, ok := strings.Cut(name, "/kernel/")
	return ok && strings.Contains(path.Base(rest), ".ko") && slices.ContainsFunc(modules, func(m string) bool {
		return strings.HasPrefix(rest, m+"/") || strings.HasPrefix(rest, m+".ko")
	})
}

// unpackKernel makes a kernel that needs not be unpacked at every boot, and the archive of its modules, with their index.
func (s source) unpackKernel(ctx context.Context, dir string, d deb) error {
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	files, err := s.download(ctx, work, []deb{d})
	if err != nil {
		return err
	}
	root := filepath.Join(work, "root")
	if out, err := exec.CommandContext(ctx, "dpkg", "-x", files[0], root).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg -x %s: %w: %s", filepath.Base(files[0]), err, out)
	}
	return errors.Join(unpackImage(ctx, root, filepath.Join(dir, kernelFile)), packModules(ctx, root, filepath.Join(dir, archiveFile)), os.RemoveAll(work))
}

// packModules makes the archive of the modules in the unpacked package root.
func packModules(ctx context.Context, root, file string) error {
	versions, err := os.ReadDir(filepath.Join(root, "lib/modules"))
	if err != nil || len(versions) != 1 {
		return errors.Join(err, fmt.Errorf("%d folders with modules in the kernel's package, want 1", len(versions)))
	}
	version := versions[0].Name()
	dir := filepath.Join(root, "lib/modules", version)
	var packed []string
	err = filepath.WalkDir(filepath.Join(dir, "kernel"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !isModule(p) {
			return os.Remove(p)
		}
		if strings.HasSuffix(p, ".xz") {
			packed = append(packed, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(packed, 500) { // a guest would need longer than this machine, and at every boot
		if out, err := exec.CommandContext(ctx, "xz", append([]string{"-d", "--"}, some...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("xz -d: %w: %s", err, out)
		}
	}
	if out, err := exec.CommandContext(ctx, "depmod", "-b", root, version).CombinedOutput(); err != nil {
		return fmt.Errorf("depmod: %w: %s", err, out)
	}
	return archive(file, func(c *cpio) error { return c.tree(dir, "lib/modules/"+version) })
}

// unpackImage finds the kernel proper in the compressed image of the unpacked package root.
func unpackImage(ctx context.Context, root, file string) error {
	images, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return errors.Join(err, fmt.Errorf("%d kernels in the kernel's package, want 1", len(images)))
	}
	image, err := os.ReadFile(images[0])
	if err != nil {
		return err
	}
	for _, z := range []struct{ program, magic string }{
		{"zstd", "\x28\xb5\x2f\xfd"}, {"lz4", "\x02\x21\x4c\x18"}, {"xz", "\xfd7zXZ\x00"}, {"gzip", "\x1f\x8b\x08"},
	} {
		for at := 0; ; at++ {
			next := strings.Index(string(image[at:]), z.magic)
			if next < 0 {
				break
			}
			at += next
			c := exec.CommandContext(ctx, z.program, "-dc")
			c.Stdin = strings.NewReader(string(image[at:]))
			text, _ := c.Output() // what follows the kernel in the image makes it fail, after the kernel
			if _, err := elf.NewFile(strings.NewReader(string(text))); err == nil {
				return os.WriteFile(file, text, 0o644)
			}
		}
	}
	return errors.New("the kernel's image is packed in no way that is known here")
}
