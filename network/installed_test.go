package network

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/install"
)

const conflist = `{"name":"weft","cniVersion":"1.0.0","plugins":[{"type":"weft"}]}`

// equip gives the bed a plugin and a configuration to install.
func (b *bed) equip() {
	b.t.Helper()
	for _, dir := range []string{"source", "bin", "net.d"} {
		must(b.t, os.MkdirAll(b.file(dir), 0o755))
	}
	must(b.t, os.WriteFile(b.file("source/weft"), []byte("#!/bin/false\n"), 0o755))
	must(b.t, os.WriteFile(b.file("conf.json"), []byte(conflist), 0o644))
	b.installer()
}

// installer makes a new installer, as a new process does.
func (b *bed) installer() {
	b.o.Install = install.New(install.Options{SourceDir: b.file("source"), BinDir: b.file("bin"), Conf: b.file("conf.json"),
		ConfDir: b.file("net.d"), ConfName: "10-weft.conflist", Log: b.o.Log})
}

func (b *bed) file(name string) string { return filepath.Join(b.dir, name) }

// conflist returns the installed configuration and when it was written; "" where there is none.
func (b *bed) conflist() (string, time.Time) {
	b.t.Helper()
	text, err := os.ReadFile(b.file("net.d/10-weft.conflist"))
	if errors.Is(err, os.ErrNotExist) {
		return "", time.Time{}
	}
	must(b.t, err)
	info, err := os.Stat(b.file("net.d/10-weft.conflist"))
	must(b.t, err)
	return string(text), info.ModTime()
}

// readyz asks the agent for the reasons why it is not ready.
func readyz(a *Agent) (int, string) {
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/readyz", nil))
	return w.Code, w.Body.String()
}

// TestConfigurationIsInstalledLast holds that plugins come at once, the configuration when subnet.env is there, and
// readiness after both.
func TestConfigurationIsInstalledLast(t *testing.T) {
	b := newBed(t, "")
	b.equip()
	var told atomic.Int32
	b.o.Ready = func() {
		if text, _ := b.conflist(); text != conflist {
			t.Errorf("ready was told with the configuration %q", text)
		}
		told.Add(1)
	}
	a, stop := b.run()
	until(t, a, "plugin installed", func(Status) bool { _, err := os.Stat(b.file("bin/weft")); return err == nil })
	until(t, a, "told", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), "no network config") })
	if text, _ := b.conflist(); text != "" || told.Load() != 0 {
		t.Errorf("without a network config: installed %s", text)
	}
	b.cluster.SetConfig(dual)
	until(t, a, "ready", ready)
	text, written := b.conflist()
	if text != conflist {
		t.Errorf("installed %q", text)
	}
	if code, _ := readyz(a); code != http.StatusOK || told.Load() != 1 {
		t.Errorf("/readyz %d; told %d times that the node is ready", code, told.Load())
	}
	stop()
	if text, again := b.conflist(); text != conflist || again != written {
		t.Errorf("the end of the agent changed the configuration")
	}

	b.installer()
	again, _ := b.run()
	until(t, again, "ready again", ready)
	if _, at := b.conflist(); at != written {
		t.Error("the restart touched the configuration")
	}
}

// TestConfigurationOverARestart holds that it goes exactly where it speaks of a network that is not there.
func TestConfigurationOverARestart(t *testing.T) {
	for _, c := range []struct {
		name  string
		event func(b *bed)
		stays bool
	}{
		{"restart", func(*bed) {}, true},
		{"reboot", func(b *bed) {
			must(b.t, os.Remove(b.o.SubnetFile))
			b.clean()
		}, false},
		{"reboot with a subnet.env that survives", func(b *bed) { b.clean() }, false},
		{"subnet.env gone", func(b *bed) { must(b.t, os.Remove(b.o.SubnetFile)) }, false},
		{"subnet.env damaged", func(b *bed) { must(b.t, os.WriteFile(b.o.SubnetFile, []byte("FLANNEL_MTU=x"), 0o644)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, dual)
			b.equip()
			b.o.StateFile = "" // nothing serves in place of the store
			a, stop := b.run()
			until(t, a, "ready", ready)
			stop()
			_, written := b.conflist()
			c.event(b)
			b.cluster.SetConfig("") // the node waits
			b.installer()
			again, _ := b.run()
			until(t, again, "told", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), "no network config") })
			if c.stays {
				if text, at := b.conflist(); text != conflist || at != written {
					t.Errorf("the configuration became %q", text)
				}
			} else {
				until(t, again, "configuration removed", func(Status) bool { text, _ := b.conflist(); return text == "" })
			}
			b.cluster.SetConfig(dual)
			until(t, again, "ready again", ready)
			if text, at := b.conflist(); text != conflist || c.stays && at != written {
				t.Errorf("installed %q at %s, before at %s", text, at, written)
			}
		})
	}
}

// TestInstallationIsKept holds that what is removed while the agent runs comes back, and that a change is applied.
func TestInstallationIsKept(t *testing.T) {
	b := newBed(t, dual)
	b.equip()
	a, _ := b.run()
	until(t, a, "ready", ready)
	must(t, os.Remove(b.file("net.d/10-weft.conflist")))
	must(t, os.Remove(b.file("bin/weft")))
	until(t, a, "put back", func(Status) bool {
		text, _ := b.conflist()
		_, err := os.Stat(b.file("bin/weft"))
		return text == conflist && err == nil
	})
	changed := strings.Replace(conflist, "1.0.0", "1.1.0", 1)
	must(t, os.WriteFile(b.file("conf.json"), []byte(changed), 0o644))
	until(t, a, "changed", func(Status) bool { text, _ := b.conflist(); return text == changed })
	must(t, os.WriteFile(b.file("conf.json"), []byte("{"), 0o644))
	until(t, a, "refused", func(s Status) bool {
		return s.Ready && strings.Contains(strings.Join(s.Warnings, " "), "is refused: ") && strings.Contains(strings.Join(s.Warnings, " "), "the last good one stays in force")
	})
	if text, _ := b.conflist(); text != changed {
		t.Errorf("in force %s", text)
	}
	must(t, os.WriteFile(b.file("conf.json"), []byte(conflist), 0o644))
	until(t, a, "mended", func(s Status) bool {
		text, _ := b.conflist()
		return text == conflist && s.Ready && len(s.Warnings) == 0
	})
}

// TestInstallationThatFails holds that the agent serves its peers, says why it is not ready, and goes on when it can.
func TestInstallationThatFails(t *testing.T) {
	b := newBed(t, dual)
	b.peer(2)
	b.equip()
	end := b.readOnly("net.d")
	var told atomic.Int32
	b.o.Ready = func() { told.Add(1) }
	a, _ := b.run()
	s := until(t, a, "told", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), "mounted read-only") })
	until(t, a, "served", func(s Status) bool { return len(s.Peers) == 1 && s.Peers[0].Programmed })
	if code, text := readyz(a); s.Ready || code != http.StatusServiceUnavailable || !strings.Contains(text, "installing the CNI configuration ") || told.Load() != 0 {
		t.Errorf("ready %v, /readyz %d: %s", s.Ready, code, text)
	}
	end()
	until(t, a, "ready", ready)
	if text, _ := b.conflist(); text != conflist || told.Load() != 1 {
		t.Errorf("installed %q; told %d times", text, told.Load())
	}
}

// readOnly makes a folder of the bed one that nobody can write, until the returned function is called.
func (b *bed) readOnly(dir string) (end func()) {
	b.t.Helper()
	path := b.file(dir)
	must(b.t, unix.Mount("none", path, "tmpfs", unix.MS_RDONLY, ""))
	done := false
	end = func() {
		if !done {
			done = true
			must(b.t, unix.Unmount(path, unix.MNT_DETACH))
		}
	}
	b.t.Cleanup(end)
	return end
}
