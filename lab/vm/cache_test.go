package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Of several who want the same, one fills the folder.
func TestCachedOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var filled atomic.Int32
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			dir, err := cached(t.Context(), "thing", []string{"a", "b"}, func(dir string) error {
				filled.Add(1)
				return os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o644)
			})
			if err != nil {
				return err
			}
			_, err = os.Stat(filepath.Join(dir, "file"))
			return err
		})
	}
	if err := g.Wait(); err != nil || filled.Load() != 1 {
		t.Errorf("%v, filled %d times, want once", err, filled.Load())
	}
}

// What failed, or was killed half-way, is not taken for done, and other parts are another folder.
func TestCachedAgain(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	no := errors.New("no")
	if _, err := cached(t.Context(), "thing", nil, func(string) error { return no }); !errors.Is(err, no) {
		t.Errorf("error %v, want %v", err, no)
	}
	dir, err := cached(t.Context(), "thing", nil, func(dir string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.Rename(dir, dir+".new"))
	must(t, os.WriteFile(filepath.Join(dir+".new", "half"), nil, 0o644))
	if dir, err = cached(t.Context(), "thing", nil, func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left from the one before: %v, %v", left, err)
	}
	other, err := cached(t.Context(), "thing", []string{"other"}, func(string) error { return nil })
	if err != nil || other == dir {
		t.Errorf("the same folder %s for other parts, %v", other, err)
	}
}

// Whoever waits for the lock can give up.
func TestCachedGivesUp(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	_, err := cached(t.Context(), "thing", nil, func(string) error {
		cancel()
		_, err := cached(ctx, "thing", nil, func(string) error { return nil })
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
