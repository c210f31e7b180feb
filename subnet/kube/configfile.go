package kube

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

// configFile is net-conf.json, as it is mounted from a ConfigMap or written by hand.
type configFile struct {
	path string
	log  logrus.FieldLogger
	bell chan struct{} // the text may be another one

	mu   sync.Mutex
	last string
	err  string // why it could not be read, as it was logged
}

func newConfigFile(path string, log logrus.FieldLogger) *configFile {
	c := &configFile{path: path, log: log, bell: make(chan struct{}, 1)}
	c.read()
	return c
}

// where says where the config is to be put.
func (c *configFile) where() string { return c.path + ", or the ConfigMap that is mounted there" }

// text returns the file as it was read last; "" while there is none.
func (c *configFile) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// read reads the file. One that cannot be read, other than that it is not there, leaves what was known.
func (c *configFile) read() (changed bool) {
	data, err := os.ReadFile(c.path)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if c.err != err.Error() {
			c.err = err.Error()
			c.log.WithError(err).Warn("net-conf.json cannot be read")
		}
		return false
	}
	c.err = ""
	changed = c.last != string(data)
	c.last = string(data)
	return changed
}

// How often the file is looked at where nothing tells of changes: where notifications work, and where they do not.
const (
	seldom = time.Minute
	often  = 2 * time.Second
)

// watch rings the bell when the text changes, until ctx ends.
func (c *configFile) watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		c.log.WithError(err).Info("no notifications of changes of files; net-conf.json is looked at now and then")
		return c.poll(ctx, nil, often)
	}
	defer w.Close()
	return c.poll(ctx, w, seldom)
}

func (c *configFile) poll(ctx context.Context, w *fsnotify.Watcher, every time.Duration) error {
	var events chan fsnotify.Event
	var failures chan error
	if w != nil {
		events, failures = w.Events, w.Errors
	}
	for {
		wait := every
		if w != nil && !c.place(w) {
			wait = often
		}
		if c.read() {
			select {
			case c.bell <- struct{}{}:
			default:
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-events:
		case <-failures: // lost events at worst: the file is read anyway
		case <-timer.C:
		}
		timer.Stop()
	}
}

// place watches the folder of the file, and that of the file behind its symbolic links. A folder and not the file: a
// new file comes by rename, and a ConfigMap's by the rename of the link ..data beside it. It tells whether both can be
// watched.
func (c *configFile) place(w *fsnotify.Watcher) bool {
	dirs := []string{filepath.Dir(c.path)}
	real, err := filepath.EvalSymlinks(c.path)
	if err == nil && filepath.Dir(real) != dirs[0] {
		dirs = append(dirs, filepath.Dir(real))
	}
	all := true
	for _, d := range dirs {
		all = w.Add(d) == nil && all
	}
	for _, d := range w.WatchList() { // those of earlier targets
		if d != dirs[0] && d != dirs[len(dirs)-1] {
			_ = w.Remove(d)
		}
	}
	return all
}
