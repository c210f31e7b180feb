package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// until waits for the text, by the bell only.
func until(t *testing.T, c *configFile, want string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for c.text() != want {
		select {
		case <-c.bell:
		case <-late:
			t.Fatalf("text %q, want %q", c.text(), want)
		}
	}
}

// follow watches a file until the end of the test.
func follow(t *testing.T, path string) *configFile {
	t.Helper()
	log := logrus.New()
	log.SetOutput(t.Output())
	c := newConfigFile(path, log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watch returned %v", err)
		}
	})
	return c
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }

func TestConfigFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "net-conf.json")
	c := follow(t, path)
	until(t, c, "")
	must(t, write(path, "one"))
	until(t, c, "one")
	must(t, write(path+".new", "two"), os.Rename(path+".new", path))
	until(t, c, "two")
	must(t, os.Remove(path))
	until(t, c, "")
	must(t, write(path, "three"))
	until(t, c, "three")
}

// TestConfigMap exchanges a mounted ConfigMap as the kubelet does: the link ..data is renamed over, the old folder
// removed.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) error {
		return errors.Join(os.Mkdir(filepath.Join(dir, name), 0o755), write(filepath.Join(dir, name, "net-conf.json"), text),
			os.Symlink(name, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	path := filepath.Join(dir, "net-conf.json")
	must(t, version("..1", "one"), os.Symlink("..data/net-conf.json", path))
	c := follow(t, path)
	until(t, c, "one")
	must(t, version("..2", "two"), os.RemoveAll(filepath.Join(dir, "..1")))
	until(t, c, "two")
	must(t, version("..3", "three"), os.RemoveAll(filepath.Join(dir, "..2")))
	until(t, c, "three")
}

// TestConfigFileElsewhere follows a link into another folder, and out of one again.
func TestConfigFileElsewhere(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path, target := filepath.Join(dir, "net-conf.json"), filepath.Join(other, "config")
	must(t, write(target, "one"), os.Symlink(target, path))
	c := follow(t, path)
	until(t, c, "one")
	must(t, write(target+".new", "two"), os.Rename(target+".new", target))
	until(t, c, "two")
	must(t, write(path+".new", "three"), os.Rename(path+".new", path))
	until(t, c, "three")
}

// TestConfigFolderComes begins before the folder is there.
func TestConfigFolderComes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etc")
	c := follow(t, filepath.Join(dir, "net-conf.json"))
	must(t, os.Mkdir(dir, 0o755), write(filepath.Join(dir, "net-conf.json"), "one"))
	until(t, c, "one")
}

// TestConfigFileUnreadable keeps what was known while the file is something else than a file.
func TestConfigFileUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "net-conf.json")
	must(t, write(path, "one"))
	log := logrus.New()
	log.SetOutput(t.Output())
	c := newConfigFile(path, log)
	must(t, os.Remove(path), os.Mkdir(path, 0o755))
	if c.read() || c.text() != "one" {
		t.Errorf("a folder in the place of the file is read as %q", c.text())
	}
}
