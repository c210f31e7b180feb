package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// limits are what many clusters on one machine need more of than one node does, by file below /proc/sys. All of it is the
// machine's, and not of a namespace.
func limits() map[string]int64 {
	return map[string]int64{
		// A bridge with hundreds of pods hands on each broadcast as often. Where few of them fill the queue of a processor, the
		// kernel drops what all other nodes are sent.
		"net/core/netdev_max_backlog": 100_000,
		// A node watches files with 13 of them, and 128 is the usual number.
		"fs/inotify/max_user_instances": 4096,
	}
}

// RaiseLimits raises limits of the machine for clusters that are up at the same time, until restore. The first of several
// processes that ask notes in a file what they were, and the last one restores that.
func RaiseLimits(file string) (restore func() error, err error) {
	return raise("/proc/sys", file, limits())
}

func raise(root, file string, want map[string]int64) (restore func() error, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("raise limits of this machine: %w", err)
		}
	}()
	f, err := shared(file)
	if err != nil {
		return nil, err
	}
	before, err := noted(f, root, want)
	for name, n := range before {
		if n < want[name] {
			err = errors.Join(err, set(root, name, want[name]))
		}
	}
	restore = func() error {
		defer f.Close()
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil // somebody else needs them still
		}
		for name, n := range before {
			err = errors.Join(err, set(root, name, n))
		}
		if err = errors.Join(err, os.Remove(file)); err != nil {
			return fmt.Errorf("restore limits of this machine: %w", err)
		}
		return nil
	}
	if err != nil {
		return nil, errors.Join(err, restore())
	}
	return restore, nil
}

func set(root, name string, n int64) error {
	return os.WriteFile(filepath.Join(root, name), strconv.AppendInt(nil, n, 10), 0o644)
}

// shared opens a file that others may have open too, and may remove when they have it alone.
func shared(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
		mine, errMine := f.Stat()
		there, errThere := os.Stat(path)
		if err = errors.Join(err, errMine); err == nil && errThere == nil && os.SameFile(mine, there) {
			return f, nil
		}
		if f.Close(); err != nil {
			return nil, err
		}
	}
}

// noted returns what f says that the limits were. Where it says nothing, that is what they are now, and f says so from now on.
func noted(f *os.File, root string, want map[string]int64) (map[string]int64, error) {
	before := map[string]int64{}
	switch err := json.NewDecoder(f).Decode(&before); {
	case err == nil:
		return before, nil
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	for name := range want {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		if before[name], err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return before, json.NewEncoder(f).Encode(before)
}
