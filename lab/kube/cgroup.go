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

// layout is where cgroups are on this machine: in one hierarchy with all controllers (v2), or in one for each, below the
// cgroup of the calling process (v1).
type layout struct {
	unified bool
	own     map[string]string // of v1: the calling process's cgroup, by controller
}

// findLayout looks at the machine.
func findLayout() (layout, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fs); err != nil {
		return layout{}, fmt.Errorf("look at %s: %w", cgroupRoot, err)
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return layout{}, fmt.Errorf("read the own cgroups: %w", err)
	}
	return parseLayout(fs.Type == unix.CGROUP2_SUPER_MAGIC, string(text))
}

// parseLayout reads /proc/self/cgroup.
func parseLayout(unified bool, text string) (layout, error) {
	if unified {
		return layout{unified: true}, nil
	}
	l := layout{own: map[string]string{}}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for name := range strings.SplitSeq(strings.TrimPrefix(parts[1], "name="), ",") {
			l.own[name] = parts[2]
		}
	}
	for _, c := range controllers() {
		if _, there := l.own[c]; !there && c != "systemd" {
			return layout{}, fmt.Errorf("nodes need cgroup v2 at %s, or v1 with the controllers in folders below it: there is no %s", cgroupRoot, c)
		}
	}
	return l, nil
}

// folders are those of the cgroup of that name. The first one holds the lock.
func (l layout) folders(name string) []string {
	if l.unified {
		return []string{filepath.Join(cgroupRoot, name)}
	}
	var dirs []string
	for _, c := range controllers() {
		dirs = append(dirs, filepath.Join(cgroupRoot, c, l.own[c], name))
	}
	return dirs
}

// mountCgroups mounts the hierarchies as seen from the machine's cgroup namespace, and makes the cgroup of its pods in
// each of them. What is in it is of an earlier boot: a kubelet takes seconds for each container that it finds there.
func (c machineConfig) mountCgroups() error {
	if c.Unified {
		return mountUnified()
	}
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
		errs = append(errs, removeBelow(filepath.Join(dir, c.Cgroup)))
	}
	// A new cpuset has no processors at all.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(cgroupRoot, "cpuset", file))
		errs = append(errs, err, os.WriteFile(filepath.Join(cgroupRoot, "cpuset", c.Cgroup, file), text, 0o644))
	}
	return errors.Join(errs...)
}

// remove removes the cgroup of that name, and all below it, from every hierarchy. There are no processes in it any
// more. One that is gone is no error.
func (l layout) remove(name string) error {
	var errs []error
	for _, dir := range slices.Backward(l.folders(name)) { // the first one holds the lock
		errs = append(errs, removeTree(dir))
	}
	return errors.Join(errs...)
}

// removeBelow removes what is below a cgroup.
func removeBelow(dir string) error {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
		}
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
