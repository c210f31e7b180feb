package kube

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideEnv is set in the environment of the first process of a cluster.
const insideEnv = "WEFT_LAB_KUBE_INSIDE"

// Inside returns a command that runs this same executable with args as the first process of new network, mount, pid, host
// name and IPC namespaces, where a cluster can be: all that is started there ends with it. What it runs calls Settle
// first. It takes root. The command is killed when the thread that starts it ends, so Start is called on a locked thread
// unless detach is set.
func Inside(detach bool, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     detach,
	}
	if !detach {
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	}
	return cmd
}

// IsInside tells whether this process was started by a command of Inside.
func IsInside() bool { return os.Getenv(insideEnv) != "" && os.Getpid() == 1 }

// Settle gives a process started by Inside its own view of the machine: private mounts, its own /proc and /sys, and an
// empty /run in memory.
func Settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	cgroups, err := unix.OpenTree(unix.AT_FDCWD, cgroupRoot, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("open /sys/fs/cgroup: %w", err)
	}
	defer unix.Close(cgroups)
	for _, m := range []mount{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	// The new /sys shows the devices of the new network namespace; the cgroups are the machine's.
	if err := unix.MoveMount(cgroups, "", unix.AT_FDCWD, cgroupRoot, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount the cgroups: %w", err)
	}
	return nil
}

// mount is one file system to mount.
type mount struct {
	from, path, kind string
	flags            uintptr
	options          string
}

func (m mount) do() error {
	if err := unix.Mount(m.from, m.path, m.kind, m.flags, m.options); err != nil {
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: a cluster with kubelets takes root", err)
		}
		return fmt.Errorf("mount %s on %s: %w", m.from, m.path, err)
	}
	return nil
}

// bind shows the file or folder from at path too.
func bind(from, path string) mount { return mount{from, path, "", unix.MS_BIND, ""} }
