// Package kerneltest lets tests work on real network namespaces: it runs a test binary inside new user, network and
// mount namespaces, and makes further namespaces that are joined by veth pairs. It knows nothing of what is tested. It needs no
// root, and nothing that a test does through it can reach the host's own network.
package kerneltest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside is the environment variable that tells the test binary that it runs in its namespaces already.
const inside = "WEFT_KERNELTEST_INSIDE"

// Main is to be the whole body of TestMain. It runs the tests in new user, network and mount namespaces in which the process
// is root, loopback is up and /sys shows the devices of the namespace; /proc/sys/net shows its parameters anyway. Flags of the test binary,
// coverage, standard files and the exit code are passed through. Tests with GuestPrefix are left to virtual machines. It does not return.
func Main(m *testing.M) {
	if os.Getenv(inside) != "" {
		if err := errors.Join(setUp(), LeaveToGuests()); err != nil {
			fmt.Fprintln(os.Stderr, "kerneltest:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := reexec()
	if err != nil {
		fmt.Fprintf(os.Stderr, "kerneltest: cannot run the tests in new namespaces: %v\n"+
			"kerneltest: the kernel must allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone,\n"+
			"kerneltest: kernel.apparmor_restrict_unprivileged_userns), or the tests must be run as root\n", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// reexec runs this binary again in new namespaces and returns its exit code.
func reexec() (int, error) {
	// The death signal is bound to the thread that starts the process, so the thread has to live until the end.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

// setUp prepares the new namespaces: mounts that do not leak out, the namespace's own /sys, loopback.
func setUp() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// Where the host hides parts of its /sys, a new one is refused. Nothing but tests that read /sys depends on it, and they will say so.
	// It is there already in the worker processes that a fuzz test starts.
	err := unix.Mount("sysfs", "/sys", "sysfs", 0, "")
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount /sys: %w", err)
	}
	return upLoopback()
}
