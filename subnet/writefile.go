package subnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile makes the file at path hold data with the permissions perm, and tells whether it had to change anything.
// A reader, also one after a power cut, sees either the old file or the new one: it is written beside the old one,
// synced, and renamed over it. Missing folders are made. A failure leaves the old file and nothing beside it.
func WriteFile(path string, data []byte, perm fs.FileMode) (changed bool, err error) {
	if same(path, data, perm) {
		return false, nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("making the folder of %s: %w", path, err)
	}
	temp, err := writeTemp(dir, filepath.Base(path), data, perm)
	if err != nil {
		return false, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return false, errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(temp))
	}
	if err := syncDir(dir); err != nil {
		return true, fmt.Errorf("writing %s: %w", path, err)
	}
	return true, nil
}

// same tells whether the file is as it should be. What cannot be read is not.
func same(path string, data []byte, perm fs.FileMode) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != perm || info.Size() != int64(len(data)) {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	piece := make([]byte, min(len(data)+1, 64<<10)) // a large file is not read into memory once more
	for {
		n, err := f.Read(piece)
		if n > len(data) || !bytes.Equal(piece[:n], data[:n]) {
			return false
		}
		data = data[n:]
		if err != nil {
			return err == io.EOF && len(data) == 0
		}
	}
}

// writeTemp makes a synced file in dir, and returns its path. On failure there is none.
func writeTemp(dir, base string, data []byte, perm fs.FileMode) (path string, err error) {
	f, err := os.CreateTemp(dir, "."+base+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// syncDir makes a rename in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
