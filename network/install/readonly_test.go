package install

import (
	"io/fs"
	"maps"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFoldersThatCannotBeWritten holds that the reason and the remedy are told, that what is on the host stays, and
// that all is done when the folders can be written again.
func TestFoldersThatCannotBeWritten(t *testing.T) {
	const remedy = "it is mounted read-only: mount the host's folder writable"
	for _, c := range []struct {
		name          string
		have          map[string]string
		err, warnings []string
	}{
		{"nothing there", nil, []string{"installing the CNI plugin ", "bin/weft: ", remedy}, nil},
		{"older plugins and another configuration", map[string]string{"bin/weft": "weft v1.0.0", "bin/bridge": "bridge v1.0.0", "net.d/10-weft.conflist": other}, nil,
			[]string{"bin/weft, which is of version v1.0.0, Weft's is of v1.1.0: ", remedy, "; the old one stays", "installing the CNI configuration ", "; the old one stays in force"}},
		{"all but the configuration", map[string]string{"bin/weft": "weft v1.1.0", "bin/bridge": "bridge v1.9.1"},
			[]string{"installing the CNI configuration ", remedy}, nil},
		{"a configuration that cannot be used", map[string]string{"bin/weft": "weft v1.1.0", "bin/bridge": "bridge v1.9.1", "net.d/10-weft.conflist": "{"},
			[]string{"installing the CNI configuration ", remedy}, nil},
		{"all there", map[string]string{"bin/weft": "weft v1.1.0", "bin/bridge": "bridge v1.9.1", "net.d/10-weft.conflist": conf}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			have := maps.Clone(c.have)
			for name, what := range have {
				h.write(name, what, map[bool]fs.FileMode{true: 0o755, false: 0o600}[strings.HasPrefix(name, "bin/")])
			}
			if have == nil {
				have = map[string]string{}
			}
			writable := []func(){h.readOnly("bin"), h.readOnly("net.d")}
			i := New(h.o)
			out, err := h.sync(i, true)
			h.has(have)
			if (err != nil) != (c.err != nil) || (len(out.Warnings) > 0) != (c.warnings != nil) {
				t.Errorf("error %v, warnings %q", err, out.Warnings)
			}
			for _, want := range c.err {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
			for _, want := range c.warnings {
				if !strings.Contains(strings.Join(out.Warnings, "\n"), want) {
					t.Errorf("warnings %q do not say %q", out.Warnings, want)
				}
			}
			if c.have != nil && len(out.Changed) > 0 {
				t.Errorf("changed %q", out.Changed)
			}
			for _, f := range writable {
				f()
			}
			out, err = h.sync(i, true)
			if err != nil || len(out.Warnings) > 0 {
				t.Errorf("when they can be written: %v, %q", err, out.Warnings)
			}
			h.has(map[string]string{"bin/bridge": "bridge v1.9.1", "bin/weft": "weft v1.1.0", "net.d/10-weft.conflist": conf})
		})
	}
}

// TestRetractWithoutRight holds that a configuration that cannot be removed is told of.
func TestRetractWithoutRight(t *testing.T) {
	h := newHost(t)
	h.write("net.d/10-weft.conflist", conf, 0o600)
	writable := h.readOnly("net.d")
	i := New(h.o)
	if removed, err := i.Retract(); removed || err == nil || !strings.Contains(err.Error(), "mounted read-only") {
		t.Errorf("removed %v, %v", removed, err)
	}
	writable()
	if removed, err := i.Retract(); !removed || err != nil {
		t.Errorf("removed %v, %v", removed, err)
	}
}

// readOnly makes a folder of the host one that nobody can write, until the returned function is called.
func (h *host) readOnly(dir string) (end func()) {
	h.t.Helper()
	path := h.path(dir)
	must(h.t, unix.Mount(path, path, "", unix.MS_BIND, ""))
	done := false
	end = func() {
		if !done {
			done = true
			must(h.t, unix.Unmount(path, 0))
		}
	}
	h.t.Cleanup(end)
	var st unix.Statfs_t
	must(h.t, unix.Statfs(path, &st)) // what the mount has on a host stays, else a user namespace may not change it
	keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_RELATIME)
	must(h.t, unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|keep, ""))
	return end
}
