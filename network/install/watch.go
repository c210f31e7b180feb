package install

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How often the files are looked at where nothing tells of changes: where notifications work, and where they do not.
const (
	seldom = time.Minute
	often  = 2 * time.Second
)

// settle is how long further changes are waited for after one. It bounds what a program can cost that fights for the
// same files.
const settle = 100 * time.Millisecond

// Watch calls changed whenever a file of those that Sync looks at may have changed, and now and then in any case, until
// ctx ends. changed must not block.
func (i *Installer) Watch(ctx context.Context, changed func()) error {
	var events chan fsnotify.Event
	var failures chan error
	w, err := fsnotify.NewWatcher()
	if err != nil {
		i.o.Log.WithError(err).Info("no notifications of changes of files; CNI plugins and configuration are looked at now and then")
		w = nil
	} else {
		defer w.Close()
		events, failures = w.Events, w.Errors
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	settling := true
	soon := func() {
		if !settling { // else a stream of changes would put it off for ever
			timer.Reset(settle)
			settling = true
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-events:
			soon()
			continue
		case <-failures: // lost events at worst
			soon()
			continue
		case <-timer.C:
			settling = false
		}
		wait := often
		if w != nil && i.place(w) {
			wait = seldom
		}
		changed() // after the folders are watched: what changes from here on is told
		timer.Reset(wait)
	}
}

// place watches the folders of all files, and the one behind the symbolic links of the configuration. Folders and not
// files: a new file comes by rename, and a ConfigMap's by the rename of the link ..data beside it. It tells whether all
// can be watched.
func (i *Installer) place(w *fsnotify.Watcher) bool {
	dirs := map[string]bool{i.o.SourceDir: true, i.o.BinDir: true, i.o.ConfDir: true, filepath.Dir(i.o.Conf): true}
	if real, err := filepath.EvalSymlinks(i.o.Conf); err == nil {
		dirs[filepath.Dir(real)] = true
	}
	all := true
	for dir := range dirs {
		all = w.Add(dir) == nil && all
	}
	for _, dir := range w.WatchList() { // those of earlier targets
		if !dirs[dir] {
			_ = w.Remove(dir)
		}
	}
	return all
}
