package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where the lab keeps its files. The paths exist only inside the lab's mount namespace.
const (
	runDir     = "/run/lab"
	binDir     = runDir + "/bin"
	cniBinDir  = runDir + "/cni"
	upgradeDir = runDir + "/upgrade"
)

// insideEnv is set in the environment of the first process of a lab, to the directories of its binaries.
const insideEnv = "WEFT_LAB_BIN"

// Inside returns a command that runs this same executable with args as the first process of new user, network, mount,
// pid, host name and IPC namespaces. What it runs calls Settle first. All that is started inside ends with it; it is
// killed when the thread that starts the command ends, so Start is called on a locked thread unless detach is set.
// bins are the binaries that the lab will use; Settle puts them to where the lab looks for them.
func Inside(ctx context.Context, bins Binaries, detach bool, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideEnv+"="+bins.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
			unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Setsid:      detach,
	}
	if !detach {
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	}
	// Root of a user namespace may not let a process come before others, unless this limit does. Without it, processes that
	// move packets wait for their turn as all others do.
	_ = unix.Setrlimit(unix.RLIMIT_NICE, &unix.Rlimit{Cur: 40, Max: 40})
	return cmd
}

// IsInside tells whether this process was started by a command of Inside.
func IsInside() bool { return os.Getenv(insideEnv) != "" && os.Getpid() == 1 }

// NamespaceError adds to the error of starting a command of Inside, or of Settle, what the reader can do about it.
func NamespaceError(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w (user namespaces are switched off here: sysctl user.max_user_namespaces)", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (this kernel or container does not let this user make user namespaces: try as root, or "+
			"sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)", err)
	}
	return err
}

// Settle gives a process started by Inside its own view of the machine: private mounts, its own /proc and /sys, empty
// /run and /var/lib in memory, and the lab's binaries.
func Settle() error {
	bins, err := parseBinaries(os.Getenv(insideEnv))
	if err != nil {
		return err
	}
	trees, err := bins.open()
	if err != nil {
		return err
	}
	defer trees.close()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", NamespaceError(err))
	}
	mounts := []mount{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "/var/lib", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	}
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	return trees.attach()
}

// mount is one file system to mount.
type mount struct {
	kind, path string
	flags      uintptr
	options    string
}

func (m mount) do() error {
	if err := unix.Mount(m.kind, m.path, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.kind, m.path, NamespaceError(err))
	}
	return nil
}

// Binaries are the programs that a lab runs.
type Binaries struct {
	Dir     string // with weftd and weftctl in it
	CNI     string // with the CNI plugins in it
	Upgrade string // with another build of weftd in it; "" where there is none
}

// FindBinaries returns the binaries that lie beside this executable, as make build puts them. The error says which are missing
// and what to do.
func FindBinaries() (Binaries, error) {
	self, err := os.Executable()
	if err != nil {
		return Binaries{}, fmt.Errorf("find this executable: %w", err)
	}
	b := Binaries{Dir: filepath.Dir(self), CNI: filepath.Join(filepath.Dir(self), "cni")}
	var missing []string
	for _, path := range []string{
		filepath.Join(b.Dir, "weftd"), filepath.Join(b.Dir, "weftctl"), filepath.Join(b.CNI, "weft"), filepath.Join(b.CNI, "bridge"),
		filepath.Join(b.CNI, "host-local"), filepath.Join(b.CNI, "loopback"),
	} {
		if _, err := os.Stat(path); err != nil {
			missing = append(missing, path)
		}
	}
	if len(missing) > 0 {
		return Binaries{}, fmt.Errorf("the lab needs %s: run `make build` and use bin/weftctl", strings.Join(missing, ", "))
	}
	return b, nil
}

// String returns b in the form that parseBinaries reads.
func (b Binaries) String() string { return strings.Join([]string{b.Dir, b.CNI, b.Upgrade}, "\x1f") }

func parseBinaries(s string) (Binaries, error) {
	parts := strings.Split(s, "\x1f")
	if len(parts) != 3 {
		return Binaries{}, fmt.Errorf("%s=%q does not name the lab's binaries", insideEnv, s)
	}
	return Binaries{parts[0], parts[1], parts[2]}, nil
}

// trees are directories that were opened before the file systems that hold them were covered.
type trees []tree

type tree struct {
	fd   int
	path string // where to show it
}

// open takes hold of the directories of b.
func (b Binaries) open() (trees, error) {
	var ts trees
	for _, d := range []struct{ from, to string }{{b.Dir, binDir}, {b.CNI, cniBinDir}, {b.Upgrade, upgradeDir}} {
		if d.from == "" {
			continue
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, d.from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			ts.close()
			return nil, fmt.Errorf("open %s: %w", d.from, NamespaceError(err))
		}
		ts = append(ts, tree{fd, d.to})
	}
	return ts, nil
}

// attach shows the directories at their new places.
func (ts trees) attach() error {
	for _, t := range ts {
		if err := os.MkdirAll(t.path, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", t.path, err)
		}
		if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, t.path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount the binaries on %s: %w", t.path, err)
		}
	}
	return nil
}

func (ts trees) close() {
	for _, t := range ts {
		unix.Close(t.fd)
	}
}
