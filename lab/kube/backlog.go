package kube

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	backlogFile = "/proc/sys/net/core/netdev_max_backlog"
	backlogRoom = 100_000
)

// RaiseBacklog lets more packets wait for each processor (net.core.netdev_max_backlog), until restore. All nodes of all clusters
// have the processors of one machine between them: where a bridge with hundreds of pods hands on a few broadcasts at the same
// time, the usual 1000 places are taken, and the kernel drops what the other nodes are sent.
//
// The value is the machine's. The first of several processes that ask notes in a file what it was, and the last one restores that.
func RaiseBacklog(file string) (restore func() error, err error) {
	f, err := shared(file)
	if err != nil {
		return nil, fmt.Errorf("raise the backlog of packets: %w", err)
	}
	before, err := noted(f)
	if err == nil && before < backlogRoom {
		err = os.WriteFile(backlogFile, strconv.AppendInt(nil, backlogRoom, 10), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raise the backlog of packets: %w", err), f.Close())
	}
	return func() error {
		defer f.Close()
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil // somebody else needs it still
		}
		err = errors.Join(err, os.WriteFile(backlogFile, strconv.AppendInt(nil, before, 10), 0), os.Remove(file))
		if err != nil {
			return fmt.Errorf("restore the backlog of packets: %w", err)
		}
		return nil
	}, nil
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

// noted returns what f says that the backlog was, and writes it there where it says nothing.
func noted(f *os.File) (int64, error) {
	read := func(path string) (string, error) {
		b, err := os.ReadFile(path)
		return strings.TrimSpace(string(b)), err
	}
	text, err := read(f.Name())
	if err != nil {
		return 0, err
	}
	if text == "" {
		if text, err = read(backlogFile); err != nil {
			return 0, err
		}
		if _, err := f.WriteString(text); err != nil {
			return 0, err
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return n, nil
}
