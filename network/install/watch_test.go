package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"
)

// patience is how long a test waits for something that should come at once.
const patience = 20 * time.Second

// TestWatch keeps a host as weftd does, and holds that whatever is done to its files is put right.
func TestWatch(t *testing.T) {
	h := newHost(t)
	h.mount("1", conf)
	i := New(h.o)
	bell := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- i.Watch(ctx, func() {
			select {
			case bell <- struct{}{}:
			default:
			}
		})
	}()
	defer func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	}()
	want := map[string]string{"bin/bridge": "bridge v1.9.1", "bin/weft": "weft v1.1.0", "net.d/10-weft.conflist": conf}
	for n, c := range []struct {
		name string
		harm func() error
		conf string
	}{
		{"nothing", func() error { return nil }, conf},
		{"configuration removed", func() error { return os.Remove(h.path("net.d/10-weft.conflist")) }, conf},
		{"configuration written over", func() error { return os.WriteFile(h.path("net.d/10-weft.conflist"), nil, 0o600) }, conf},
		{"plugin removed", func() error { return os.Remove(h.path("bin/weft")) }, conf},
		{"plugin cut off", func() error { return os.Truncate(h.path("bin/bridge"), 100) }, conf},
		{"plugin not executable", func() error { return os.Chmod(h.path("bin/bridge"), 0o600) }, conf},
		{"ConfigMap changed", func() error { h.mount("3", other); return nil }, other},
		{"ConfigMap changed back", func() error { h.mount("4", conf); return nil }, conf},
		{"ConfigMap broken", func() error { h.mount("5", "{"); return nil }, conf},
		{"ConfigMap mended", func() error { h.mount("6", other); return nil }, other},
		{"folders exchanged", func() error {
			return errors.Join(os.Rename(h.path("net.d"), h.path("old.d")), os.Mkdir(h.path("net.d"), 0o755), os.RemoveAll(h.path("bin")))
		}, other},
		{"plugin removed after that", func() error { return os.Remove(h.path("bin/weft")) }, other},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			must(t, c.harm())
			want["net.d/10-weft.conflist"] = c.conf
			late := time.After(patience)
			for !h.holds(want) || n == 0 {
				select {
				case <-bell:
					if _, err := i.Sync(t.Context(), true); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Error(err)
					}
					n = 1
				case <-late:
					h.has(want)
					t.Fatal("nothing told of it")
				}
			}
			h.sync(i, true)
		})
	}
}

// holds tells whether the files of the host are as wanted. One that cannot be listed is not.
func (h *host) holds(want map[string]string) bool {
	for name, what := range want {
		data, err := os.ReadFile(h.path(name))
		if err != nil || string(data) != string(content(h.t, what)) {
			return false
		}
		if info, err := os.Stat(h.path(name)); err != nil || name[:4] == "bin/" && info.Mode() != 0o755 {
			return false
		}
	}
	return true
}
