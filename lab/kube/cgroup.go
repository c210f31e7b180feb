package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where the machine's cgroups are.
const cgroupRoot = "/sys/fs/cgroup"

// controllers are those of cgroup v1 that a kubelet needs. The last one has no controller: it only names processes.
func controllers() []string {
	return []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"}
}

// errCgroups says what this machine has not.
var errCgroups = errors.New("nodes need cgroup v1, with the controllers in folders below " + cgroupRoot +
	"; on machines with cgroup v2 the cluster does not run yet")

// ownCgroups are the folders of the calling process's cgroup, by controller.
func ownCgroups() (map[string]string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("read the own cgroups: %w", err)
	}
	paths := map[string]string{}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for name := range strings.SplitSeq(strings.TrimPrefix(parts[1], "name="), ",") {
			paths[name] = parts[2]
		}
	}
	for _, c := range controllers() {
		if _, there := paths[c]; !there && c != "systemd" {
			return nil, fmt.Errorf("%w: there is no %s", errCgroups, c)
		}
	}
	return paths, nil
}

// mountCgroups mounts the hierarchies as seen from the machine's cgroup namespace, and makes the cgroup of its pods in
// each of them.
func (c machineConfig) mountCgroups() error {
	var errs []error
	for _, name := range controllers() {
		dir, options := filepath.Join(cgroupRoot, name), name
		if name == "systemd" {
			options = "none,name=systemd"
		}
		errs = append(errs, os.Mkdir(dir, 0o755), mount{"cgroup", dir, "cgroup", 0, options}.do())
		if err := os.Mkdir(filepath.Join(dir, c.Cgroup), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			errs = append(errs, err)
		}
	}
	// A new cpuset has no processors at all.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(cgroupRoot, "cpuset", file))
		errs = append(errs, err, os.WriteFile(filepath.Join(cgroupRoot, "cpuset", c.Cgroup, file), text, 0o644))
	}
	return errors.Join(errs...)
}

// removeCgroups removes the cgroup of that name, and all below it, from every hierarchy. There are no processes in it any
// more. One that is gone is no error.
func removeCgroups(name string) error {
	own, err := ownCgroups()
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range slices.Backward(controllers()) { // the first one holds the lock
		errs = append(errs, removeTree(filepath.Join(cgroupRoot, c, own[c], name)))
	}
	return errors.Join(errs...)
}

// removeTree removes folders from the innermost outwards. The files in them are the kernel's.
func removeTree(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // what went away meanwhile is as it should be
	})
	errs := []error{err}
	for _, dir := range slices.Backward(dirs) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}
