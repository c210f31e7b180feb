package vm

import (
	"archive/tar"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// initScript is the guest's first process.
//
//go:embed init.sh
var initScript string

// machine is one guest.
type machine struct {
	dir          string // of this machine's, for as long as the guest lives
	kernel       string
	memory, cpus int
	output       io.Writer
}

// missing says what this machine lacks to run a guest.
func missing() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("virtual machines have amd64 kernels, and are run on Linux on amd64 alone; this is %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	var packages []string
	for _, need := range [][2]string{{"qemu-system-x86_64", "qemu-system-x86"}, {"apt-get", "apt"}, {"dpkg-deb", "dpkg"}, {"depmod", "kmod"},
		{"xz", "xz-utils"}, {"zstd", "zstd"}, {"lz4", "lz4"}} {
		if _, err := exec.LookPath(need[0]); err != nil {
			packages = append(packages, need[1])
		}
	}
	if len(packages) > 0 {
		return fmt.Errorf("virtual machines need Debian packages that are not installed here: make setup installs them as root, or apt-get install --no-install-recommends %s",
			strings.Join(packages, " "))
	}
	return nil
}

func (m machine) archive() string { return filepath.Join(m.dir, "root.cpio") }
func (m machine) left() string    { return filepath.Join(m.dir, "left.tar") }

// pack makes the file system of the guest: the archives, and after them what belongs to this run.
func (m machine) pack(archives []string, opts Options) error {
	return archive(m.archive(), func(c *cpio) error {
		for _, a := range archives {
			f, err := os.Open(a)
			if err != nil {
				return err
			}
			info, err := f.Stat()
			if err == nil {
				c.copy(f, info.Size())
			}
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
		}
		for _, f := range opts.Files {
			if err := c.tree(f.From, f.To); err != nil {
				return err
			}
		}
		c.text("init", 0o755, initScript)
		c.text("run.sh", 0o644, opts.Command+"\n")
		env := ""
		for _, v := range append([]string{InsideEnv + "=1", KernelEnv + "=" + opts.Kernel}, opts.Env...) {
			name, value, _ := strings.Cut(v, "=")
			env += "export " + name + "=" + Quote(value) + "\n"
		}
		c.text("run.env", 0o644, env)
		return nil
	})
}

// boot runs the guest to its end. Its time is counted by its instructions, one a nanosecond: nothing in it is late because
// this machine is busy, and while it waits, no time passes here. So it takes what others leave of the processors. Its processor does
// not offer to be quick at string instructions (ERMS, FSRM, and what Linux calls rep_good, bit 112): emulated, they copy and clear
// byte by byte.
func (m machine) boot(ctx context.Context) error {
	files, err := os.Open(m.archive())
	if err != nil {
		return err
	}
	defer files.Close()
	if err := os.Remove(m.archive()); err != nil { // it is large: whatever ends this process, it must not stay
		return err
	}
	c := exec.CommandContext(ctx, "nice", "-n", "15", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max,-erms,-fsrm",
		"-smp", strconv.Itoa(m.cpus), "-m", strconv.Itoa(m.memory), "-kernel", m.kernel, "-initrd", "/proc/self/fd/3",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-serial", "file:"+m.left(),
		"-append", "console=ttyS0 quiet loglevel=1 panic=-1 oops=panic mitigations=off nokaslr random.trust_cpu=on cryptomgr.notests audit=0 apparmor=0 clearcpuid=112 "+
			"initcall_blacklist=crypto_kdf108_init,init_encrypted,jent_mod_init")
	var errs strings.Builder
	c.Stdout, c.Stderr, c.ExtraFiles = m.output, &errs, []*os.File{files}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the signal comes when the thread ends, not the process
	defer runtime.UnlockOSThread()
	err = c.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", c.Args[0], err, strings.TrimSpace(errs.String()))
	}
	return nil
}

// result reads what the guest sent back: the status, and what was in /out, which it puts into the folder out.
func (m machine) result(out string) (status int, err error) {
	f, err := os.Open(m.left())
	if err != nil {
		return 0, err
	}
	defer f.Close()
	status = -1
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			if status < 0 {
				return 0, ErrNoStatus
			}
			if errors.Is(err, io.EOF) {
				return status, nil
			}
			return 0, fmt.Errorf("reading what the guest left: %w", err)
		}
		if h.Name == "status" {
			if _, err := fmt.Fscan(r, &status); err != nil {
				return 0, ErrNoStatus
			}
		} else if rel, ok := strings.CutPrefix(h.Name, "out/"); ok && out != "" {
			if err := extract(out, rel, h, r); err != nil {
				return 0, fmt.Errorf("file %s of the guest: %w", h.Name, err)
			}
		}
	}
}

// extract puts one folder or file of an archive into the folder dir, which it makes where it is missing.
func extract(dir, name string, h *tar.Header, r io.Reader) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if name = filepath.Clean(name); name == "." {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, h.FileInfo().Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
