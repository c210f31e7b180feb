package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// followSubnetFile hears when somebody else changes or removes subnet.env, or the folder that it is in.
func (a *Agent) followSubnetFile(ctx context.Context) error {
	again := newBell()
	again.ring()
	return keep(ctx, again, pause{100 * time.Millisecond, 10 * time.Second}, func(ctx context.Context) error {
		err := a.watchSubnetFile(ctx)
		a.doubtSubnetFile()
		return err
	})
}

// watchSubnetFile listens until ctx ends or the folder goes.
func (a *Agent) watchSubnetFile(ctx context.Context) error {
	folder := filepath.Dir(a.o.SubnetFile)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the folder of the subnet file: %w", err)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", folder, err)
	}
	defer w.Close()
	if err := w.Add(folder); err != nil {
		return fmt.Errorf("watching %s: %w", folder, err)
	}
	a.doubtSubnetFile() // it may have changed while nobody listened
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.Errors:
			return fmt.Errorf("watching %s: %w", folder, err)
		case e := <-w.Events:
			switch {
			case e.Name == folder && e.Has(fsnotify.Remove|fsnotify.Rename):
				return errFolderGone
			case e.Name == filepath.Clean(a.o.SubnetFile) && e.Op != fsnotify.Chmod:
				a.doubtSubnetFile()
			}
		}
	}
}

// errFolderGone has the folder of the subnet file made and watched again.
var errFolderGone = errors.New("the folder of the subnet file is gone")

// doubtSubnetFile has the file looked at in the next pass.
func (a *Agent) doubtSubnetFile() {
	a.fileDoubted.Store(true)
	a.look.ring()
}
