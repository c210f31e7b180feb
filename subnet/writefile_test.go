package subnet_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/subnet"
)

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestWriteFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	path := filepath.Join(dir, "file")
	for _, tt := range []struct {
		name    string
		data    string
		perm    fs.FileMode
		changed bool
	}{
		{"new, with its folders", "one", 0o644, true},
		{"same", "one", 0o644, false},
		{"same length, other text", "two", 0o644, true},
		{"longer", "three", 0o644, true},
		{"empty", "", 0o644, true},
		{"still empty", "", 0o644, false},
		{"other permissions", "", 0o600, true},
		{"same permissions", "", 0o600, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, _ := os.Stat(path)
			changed, err := subnet.WriteFile(path, []byte(tt.data), tt.perm)
			if changed != tt.changed || err != nil {
				t.Fatalf("WriteFile returned %t, %v: want %t", changed, err, tt.changed)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.data, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			after, err := os.Stat(path)
			if err != nil || after.Mode() != tt.perm {
				t.Errorf("permissions are %v: want %v", after.Mode(), tt.perm)
			}
			if before != nil && os.SameFile(before, after) == tt.changed {
				t.Errorf("changed %t, but the file was replaced: %t", tt.changed, !os.SameFile(before, after))
			}
			if diff := cmp.Diff([]string{"file"}, names(t, dir)); diff != "" {
				t.Errorf("the folder (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWriteFileFails leaves what was there, and nothing beside it.
func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "folder", "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"in the place of a folder": filepath.Join(dir, "folder"),
		"below a file":             filepath.Join(dir, "file", "below"),
		"name too long":            filepath.Join(dir, fmt.Sprintf("%0300d", 0)),
	} {
		changed, err := subnet.WriteFile(path, []byte("new"), 0o644)
		if changed || err == nil {
			t.Errorf("%s: WriteFile returned %t, %v: want an error", name, changed, err)
		}
		var of *fs.PathError
		var link *os.LinkError
		if !errors.As(err, &of) && !errors.As(err, &link) {
			t.Errorf("%s: the error does not carry the system's: %v", name, err)
		}
	}
	if diff := cmp.Diff([]string{"file", "folder"}, names(t, dir)); diff != "" {
		t.Errorf("the folder (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"inside"}, names(t, filepath.Join(dir, "folder"))); diff != "" {
		t.Errorf("the folder inside (-want +got):\n%s", diff)
	}
}

// TestWriteFileLink replaces a symbolic link, not what it leads to.
func TestWriteFileLink(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if changed, err := subnet.WriteFile(path, []byte("new"), 0o644); !changed || err != nil {
		t.Fatalf("WriteFile returned %t, %v", changed, err)
	}
	for path, want := range map[string]string{target: "old", path: "new"} {
		if got, err := os.ReadFile(path); string(got) != want || err != nil {
			t.Errorf("%s holds %q, %v: want %q", path, got, err, want)
		}
	}
}

// TestWriteFileReaders reads while others write: half a file is never seen.
func TestWriteFileReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "subnet.env")
	e := env()
	if _, err := subnet.WriteEnv(path, e); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for writer := range 2 {
		g.Go(func() error {
			for n := range 50 {
				e := e
				e.MTU = 1400 + 100*writer + n
				if _, err := subnet.WriteEnv(path, e); err != nil {
					return err
				}
			}
			return nil
		})
		g.Go(func() error {
			for range 500 {
				if _, err := subnet.ReadEnv(path); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
