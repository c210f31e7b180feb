package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// format is a part of every cached folder's name. It changes with how folders are made, so that those made in the
// former way are not used.
const format = "4"

// cached returns a folder of the user's cache, which make has filled: now, or earlier for the same kind and parts. It is
// there completely or not at all. Of several processes that want the same one, one fills it and the others wait.
func cached(ctx context.Context, kind string, parts []string, fill func(dir string) error) (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, p := range append([]string{format}, parts...) {
		fmt.Fprintf(sum, "%d %s\n", len(p), p)
	}
	dir = filepath.Join(cache, "weft", "vm-"+kind+"-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if isThere(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if isThere(dir) { // by another who had the lock before
		return dir, nil
	}
	made := dir + ".new"
	if err := errors.Join(os.RemoveAll(made), os.Mkdir(made, 0o755)); err != nil { // what one left who was killed
		return "", err
	}
	if err := fill(made); err != nil {
		return "", errors.Join(err, os.RemoveAll(made))
	}
	return dir, os.Rename(made, dir)
}

func isThere(dir string) bool {
	_, err := os.Stat(dir)
	return !errors.Is(err, fs.ErrNotExist)
}

// lock waits for the lock that the file is.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another who downloads the same: %w", context.Cause(ctx))
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
