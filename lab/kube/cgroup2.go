package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// With cgroup v2 a machine's cgroup is the root of what it sees. Processes are in a cgroup below that one, since it gives
// its controllers to others.
const (
	initCgroup   = "init"
	delegateFile = "cgroup.subtree_control"
)

// needed are the controllers of cgroup v2 that a kubelet needs.
func needed() []string { return []string{"cpu", "cpuset", "memory", "pids"} }

// delegate gives all controllers of a cgroup to those below it.
func delegate(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("delegate cgroup %s: %w", dir, err)
	}
	has := strings.Fields(string(text))
	var errs []error
	for _, c := range needed() {
		if !slices.Contains(has, c) {
			errs = append(errs, fmt.Errorf("delegate cgroup %s: there is no controller %s", dir, c))
		}
	}
	for _, c := range has {
		if err := os.WriteFile(filepath.Join(dir, delegateFile), []byte("+"+c), 0o644); err != nil && slices.Contains(needed(), c) {
			errs = append(errs, fmt.Errorf("delegate cgroup %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// renew makes a machine's cgroup one that its first process can join: with nothing of an earlier boot in it.
func renew(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, delegateFile))
	errs := []error{removeBelow(dir), err}
	for c := range strings.FieldsSeq(string(text)) {
		errs = append(errs, os.WriteFile(filepath.Join(dir, delegateFile), []byte("-"+c), 0o644))
	}
	return errors.Join(errs...)
}

// mountUnified mounts the hierarchy as the machine sees it, and moves the calling process out of the way.
func mountUnified() error {
	err := mount{"cgroup2", cgroupRoot, "cgroup2", 0, ""}.do()
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Join(cgroupRoot, initCgroup), 0o755),
			os.WriteFile(filepath.Join(cgroupRoot, initCgroup, "cgroup.procs"), []byte("0"), 0o644))
	}
	if err == nil {
		err = delegate(cgroupRoot)
	}
	return err
}

// ownCgroup makes the cgroup that this process was started in the root of what it sees, and goes on as the same process. A cgroup
// namespace begins where its maker is, and belongs to a thread: the one that becomes the whole process.
func (c machineConfig) ownCgroup() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	c.Owned = true
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("go on in a cgroup namespace: %w", err)
	}
	err = unix.Exec("/proc/self/exe", append(slices.Clone(os.Args[:len(os.Args)-1]), string(text)), os.Environ())
	return fmt.Errorf("go on in a cgroup namespace: %w", err)
}

// joins has a command start in a cgroup: it could not be moved there from outside of the cgroup namespace. The
// file has to be closed after the start.
func joins(cmd *exec.Cmd, dir string) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("join a cgroup: %w", err)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(file.Fd())
	return file, nil
}

// viewed has a command of a machine see cgroups as the machine does. Its first process has the namespace.
func viewed(cmd *exec.Cmd) {
	cmd.Args = append([]string{"nsenter", "--cgroup=/proc/1/ns/cgroup", "--", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/usr/bin/nsenter"
}
