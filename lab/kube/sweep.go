package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What clusters leave behind that are killed: cgroups, and what Prepare made for them. A lock, which ends with the process
// that holds it, says that the owner lives.
const (
	cgroupPrefix    = "weft-kube-"
	workspacePrefix = "weft-lab-kube-"
)

// Workspace makes a folder in which Prepare can put things, and returns what removes it.
func Workspace() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp("", workspacePrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), lock.Close()) }, nil
}

// lockFolder locks a folder. The error is unix.EWOULDBLOCK where another process has locked it.
func lockFolder(dir string) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), file.Close())
	}
	return file, nil
}

// lockCgroup makes the cgroup of a node and locks it. Another process may sweep at the same time, and take it for one that
// was left.
func lockCgroup(path string) (*os.File, error) {
	for {
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the cgroup of a node: %w", err)
		}
		lock, err := lockFolder(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err == nil {
			return lock, nil
		}
		if err := lock.Close(); err != nil {
			return nil, err
		}
	}
}

// Sweep removes what clusters that were killed left behind, and tells how much there was. What belongs to a cluster that lives
// is not touched.
func Sweep() (removed int, err error) {
	l, err := findLayout()
	if err != nil {
		return 0, fmt.Errorf("remove what a cluster left: %w", err)
	}
	cgroups, err := l.named(cgroupPrefix + "*")
	errs := []error{err}
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), workspacePrefix+"*"))
	errs = append(errs, err)
	count := func(left bool, err error) {
		if left && err == nil {
			removed++
		}
		errs = append(errs, err)
	}
	for _, name := range cgroups {
		count(l.sweep(name))
	}
	for _, dir := range dirs {
		count(sweepFolder(dir))
	}
	if err := errors.Join(errs...); err != nil {
		return removed, fmt.Errorf("remove what a cluster left: %w", err)
	}
	return removed, nil
}

// named are the names of all cgroups that match a pattern, each once.
func (l layout) named(pattern string) ([]string, error) {
	var names []string
	for _, folder := range l.folders(pattern) {
		dirs, err := filepath.Glob(folder)
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			if name := filepath.Base(dir); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// sweepTime is how long the processes of a killed cluster may take to end.
const sweepTime = 5 * time.Second

// sweep removes the cgroup, and says true, unless its cluster lives.
func (l layout) sweep(name string) (left bool, err error) {
	lock, err := lockFolder(l.folders(name)[0])
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	case err == nil:
		defer lock.Close()
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	tick, late := time.NewTicker(50*time.Millisecond), time.After(sweepTime)
	defer tick.Stop()
	for {
		err := l.remove(name)
		if !errors.Is(err, unix.EBUSY) {
			return true, err
		}
		select {
		case <-late:
			return true, err
		case <-tick.C:
		}
	}
}

// sweepFolder removes the folder, and says true, unless its owner lives.
func sweepFolder(dir string) (left bool, err error) {
	lock, err := lockFolder(dir)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, errors.Join(os.RemoveAll(dir), lock.Close())
}
