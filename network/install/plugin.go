package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// look is what was found out of a plugin, and of which two files.
type look struct {
	source, target stamp
	verdict        verdict
}

// stamp tells one state of a file from another without reading it.
type stamp struct {
	inode         uint64
	size          int64
	mtime, change syscall.Timespec
	mode          fs.FileMode
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), mode: info.Mode()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.mtime, s.change = st.Ino, st.Mtim, st.Ctim
	}
	return s
}

// sources returns the names of the plugins in the source folder, with the state of their files.
func (i *Installer) sources() (names []string, infos map[string]fs.FileInfo, err error) {
	entries, err := os.ReadDir(i.o.SourceDir)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the folder of the plugins to install: %w", err)
	}
	infos = map[string]fs.FileInfo{}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(i.o.SourceDir, e.Name()))
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || e.Name()[0] == '.' {
			continue // no program
		}
		names, infos[e.Name()] = append(names, e.Name()), info
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("there are no plugins to install in %s", i.o.SourceDir)
	}
	return names, infos, nil
}

// plugins installs the plugins. The error is about those that are not on the host at all; the failure to replace one
// is a warning.
func (i *Installer) plugins(ctx context.Context, out *Outcome) error {
	names, infos, err := i.sources()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		v, err := i.plugin(ctx, name, infos[name])
		path := filepath.Join(i.o.BinDir, name)
		switch {
		case err == nil && v.install:
			out.Changed = append(out.Changed, path)
		case err != nil && v.absent:
			errs = append(errs, fmt.Errorf("installing the CNI plugin %s: %w", path, cause(err)))
		case err != nil && v.install:
			out.Warnings = append(out.Warnings, fmt.Sprintf("replacing the CNI plugin %s, which %s: %v; the old one stays", path, v.reason, cause(err)))
		case err != nil:
			out.Warnings = append(out.Warnings, fmt.Sprintf("comparing the CNI plugin %s with Weft's: %v; the old one stays", path, err))
		}
	}
	return errors.Join(errs...)
}

// plugin installs one plugin, if it should.
func (i *Installer) plugin(ctx context.Context, name string, from fs.FileInfo) (verdict, error) {
	source, target := filepath.Join(i.o.SourceDir, name), filepath.Join(i.o.BinDir, name)
	there, err := os.Lstat(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return verdict{absent: true}, err
	}
	if err == nil {
		now := look{source: stampOf(from), target: stampOf(there)}
		if last, ok := i.seen[name]; ok && last.source == now.source && last.target == now.target {
			return last.verdict, nil
		}
		if now.verdict, err = judge(ctx, source, target, there); err != nil {
			return now.verdict, err
		}
		if !now.verdict.install {
			i.seen[name] = now
			i.say(name, target, now.verdict)
			return now.verdict, nil
		}
		delete(i.seen, name)
		err := copyFile(source, target)
		if err == nil {
			i.o.Log.WithField("plugin", target).WithField("because", "the one on the host "+now.verdict.reason).Info("CNI plugin replaced")
		}
		return now.verdict, err
	}
	delete(i.seen, name)
	v := verdict{install: true, absent: true}
	if err := copyFile(source, target); err != nil {
		return v, err
	}
	i.o.Log.WithField("plugin", target).Info("CNI plugin installed")
	return v, nil
}

// say logs why a plugin of the host is left alone, once for each reason.
func (i *Installer) say(name, target string, v verdict) {
	if v.reason != "" && i.said[name] != v.reason {
		i.o.Log.WithField("plugin", target).WithField("because", "it "+v.reason).Info("CNI plugin of the host is left alone")
	}
	i.said[name] = v.reason
}

// copyFile makes target a copy of source that everybody may run. A program that runs from the old file goes on with
// it; who looks sees the old file or the new one, also after a power cut.
func copyFile(source, target string) (err error) {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	dir := filepath.Dir(target)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "."+filepath.Base(target)+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(temp, in)
	if err == nil {
		err = temp.Chmod(0o755)
	}
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir outlast a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sameContent tells whether two files hold the same.
func sameContent(a, b string) (bool, error) {
	var files [2]*os.File
	for n, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			return false, err
		}
		defer f.Close()
		files[n] = f
	}
	var pieces [2][64 << 10]byte
	for {
		n, errA := io.ReadFull(files[0], pieces[0][:])
		m, errB := io.ReadFull(files[1], pieces[1][:])
		if !bytes.Equal(pieces[0][:n], pieces[1][:m]) {
			return false, nil
		}
		for _, err := range []error{errA, errB} {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return errA == errB, nil
			}
			if err != nil {
				return false, err
			}
		}
	}
}
