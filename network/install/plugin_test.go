package install

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// TestPlugins installs bridge v1.9.1 and weft v1.1.0 over what is on the host.
func TestPlugins(t *testing.T) {
	const leftAlone, replaced = "CNI plugin of the host is left alone: it ", "CNI plugin replaced: the one on the host "
	for _, c := range []struct {
		name         string
		plugin, have string      // what is on the host
		mode         fs.FileMode // 0: 0755
		source       string      // in place of the usual one
		want         string
		log          string // one line of it, unless empty
	}{
		{name: "nothing there", plugin: "weft", want: "weft v1.1.0", log: "CNI plugin installed"},
		{name: "the same", plugin: "bridge", have: "bridge v1.9.1", want: "bridge v1.9.1"},
		{name: "the same, not executable", plugin: "bridge", have: "bridge v1.9.1", mode: 0o644, want: "bridge v1.9.1", log: replaced + "may not be run by everybody"},
		{name: "older", plugin: "bridge", have: "bridge v1.0.0", want: "bridge v1.9.1", log: replaced + "is of version v1.0.0, Weft's is of v1.9.1"},
		{name: "older by its own words, without a v", plugin: "bridge", have: "bridge 1.1.1 asked", want: "bridge v1.9.1", log: replaced + "is of version v1.1.1, Weft's is of v1.9.1"},
		{name: "newer, and not by the alphabet", plugin: "bridge", have: "bridge v1.10.0 asked", want: "bridge v1.10.0 asked", log: leftAlone + "is of version v1.10.0, Weft's is of v1.9.1"},
		{name: "of the same version by another's build", plugin: "bridge", have: "bridge v1.9.1 again", want: "bridge v1.9.1 again", log: leftAlone + "is of version v1.9.1, Weft's is of v1.9.1"},
		{name: "of an unknown version", plugin: "bridge", have: "bridge unknown", want: "bridge unknown", log: leftAlone + "is of version unknown"},
		{name: "that does not say its version", plugin: "bridge", have: "bridge silent", want: "bridge silent", log: leftAlone + "is of version unknown"},
		{name: "of a source of unknown version", plugin: "bridge", have: "bridge v1.0.0", source: "bridge silent", want: "bridge v1.0.0", log: leftAlone},
		{name: "foreign", plugin: "bridge", have: "another bridge v9.0.0", want: "another bridge v9.0.0", log: leftAlone + "is another program than Weft's"},
		{name: "a script", plugin: "bridge", have: "#!/bin/sh\nexit 0\n", want: "#!/bin/sh\nexit 0\n", log: leftAlone + "is another program"},
		{name: "empty", plugin: "bridge", have: "", want: "bridge v1.9.1", log: replaced + "is damaged"},
		{name: "no program", plugin: "weft", have: "garbage", want: "weft v1.1.0", log: replaced + "is damaged"},
		{name: "older weft", plugin: "weft", have: "weft v1.0.0", want: "weft v1.1.0", log: replaced + "is of version v1.0.0, Weft's is of v1.1.0"},
		{name: "newer weft", plugin: "weft", have: "weft v1.1.0", source: "weft v1.0.0", want: "weft v1.1.0", log: leftAlone},
		{name: "another build of the same weft", plugin: "weft", have: "weft v1.1.0 again", want: "weft v1.1.0", log: replaced + "is another build of the same version"},
		{name: "a development build by a release", plugin: "weft", have: "weft devel", want: "weft v1.1.0", log: replaced + "is of version devel"},
		{name: "a release by a development build", plugin: "weft", have: "weft v1.1.0", source: "weft devel", want: "weft devel", log: replaced},
		{name: "a commit after the release", plugin: "weft", have: "weft v1.1.0-3-gabc1234", want: "weft v1.1.0-3-gabc1234", log: leftAlone},
		{name: "a release by a commit after it", plugin: "weft", have: "weft v1.1.0", source: "weft v1.1.0-3-gabc1234", want: "weft v1.1.0-3-gabc1234", log: replaced},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			if c.source != "" {
				h.write("source/"+c.plugin, c.source, 0o755)
			}
			if c.name != "nothing there" {
				h.write("bin/"+c.plugin, c.have, cmp.Or(c.mode, 0o755))
			}
			i := New(h.o)
			out, err := i.Sync(t.Context(), false)
			must(t, err)
			if len(out.Warnings) > 0 {
				t.Errorf("warnings %q", out.Warnings)
			}
			lines := strings.Join(append(h.logged(logrus.InfoLevel), ""), "\n")
			if !strings.Contains(lines, c.log) || c.log == "" && strings.Contains(lines, "replaced") {
				t.Errorf("log lacks %q:\n%s", c.log, lines)
			}
			if _, err := i.Sync(t.Context(), true); err != nil {
				t.Error(err)
			}
			if n := strings.Count(strings.Join(h.logged(logrus.InfoLevel), "\n"), leftAlone); n > 1 {
				t.Errorf("%d lines say that a plugin is left alone", n)
			}
			if _, err := h.sync(i, true); err != nil {
				t.Error(err)
			}
			if got := h.files()["bin/"+c.plugin]; got != c.want {
				t.Errorf("the host has %q, want %q", got, c.want)
			}
			if info, err := os.Stat(h.path("bin/" + c.plugin)); err != nil || info.Mode() != 0o755 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

// TestPluginCutShort holds that no part of a program counts as one.
func TestPluginCutShort(t *testing.T) {
	whole := content(t, "bridge v1.9.1")
	for _, n := range []int{1, 4, 60, 5000, len(whole) / 2} {
		h := newHost(t)
		must(t, os.WriteFile(h.path("bin/bridge"), whole[:n], 0o755))
		if _, err := h.sync(New(h.o), false); err != nil {
			t.Error(err)
		}
		if got := h.files()["bin/bridge"]; got != "bridge v1.9.1" {
			t.Errorf("of a program of %d bytes, %d were left alone", len(whole), n)
		}
	}
}

// TestPluginsThatAreNoFiles holds that links, of which a container sees other ends than the host, stay what they are.
func TestPluginsThatAreNoFiles(t *testing.T) {
	h := newHost(t)
	must(t, os.Symlink("/usr/libexec/cni/bridge", h.path("bin/bridge")))
	must(t, os.Mkdir(h.path("bin/weft"), 0o755))
	out, err := h.sync(New(h.o), true)
	must(t, err)
	h.has(map[string]string{"bin/bridge": "L---------", "bin/weft": "d---------", "net.d/10-weft.conflist": conf})
	if len(out.Warnings) != 0 {
		t.Errorf("warnings %q", out.Warnings)
	}
}

// TestPluginThatRuns holds that a plugin at work is replaced, and ends as the one that it is.
func TestPluginThatRuns(t *testing.T) {
	h := newHost(t)
	cat, err := exec.LookPath("cat")
	must(t, err)
	program, err := os.ReadFile(cat)
	must(t, err)
	must(t, os.WriteFile(h.path("bin/weft"), program, 0o755))
	cmd := exec.CommandContext(t.Context(), h.path("bin/weft"))
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	must(t, copyFile(h.path("source/weft"), h.path("bin/weft")))
	must(t, in.Close())
	must(t, cmd.Wait())
	if got := h.files()["bin/weft"]; got != "weft v1.1.0" {
		t.Errorf("the host has %q", got)
	}
}

// TestKilledInTheMiddle leaves behind what a kill can leave behind.
func TestKilledInTheMiddle(t *testing.T) {
	h := newHost(t)
	h.write("bin/.bridge.123456", "half", 0o600)
	h.write("bin/.weft.7", "half", 0o755)
	h.write("net.d/.10-weft.conflist.99", "half", 0o600)
	strangers := map[string]string{"bin/.bridge.swp": "x", "bin/.other.123": "x", "bin/bridge.123": "x", "net.d/.10-weft.conflist.bak": "x"}
	for name, text := range strangers {
		h.write(name, text, 0o644)
	}
	h.age()
	busy := map[string]string{"bin/.bridge.8": "half", "net.d/.10-weft.conflist.8": "half"} // of another agent, at this moment
	for name, text := range busy {
		h.write(name, text, 0o600)
	}
	i := New(h.o)
	_, err := h.sync(i, true)
	must(t, err)
	for name := range busy {
		if h.files()[name] != "half" {
			t.Errorf("%s, which is being written, was removed", name)
		}
	}
	h.age()
	_, err = h.sync(i, true)
	must(t, err)
	strangers["bin/bridge"], strangers["bin/weft"], strangers["net.d/10-weft.conflist"] = "bridge v1.9.1", "weft v1.1.0", conf
	h.has(strangers)
}

// age makes everything on the host as old as what nobody writes any more.
func (h *host) age() {
	h.t.Helper()
	then := time.Now().Add(-2 * abandoned)
	for name := range h.files() {
		must(h.t, os.Chtimes(h.path(name), then, then))
	}
}

// TestSourceThatCannotBeUsed holds that the reason is told, and nothing done.
func TestSourceThatCannotBeUsed(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(h *host) error
		want string
	}{
		{"no folder", func(h *host) error { return os.RemoveAll(h.o.SourceDir) }, "reading the folder of the plugins to install"},
		{"no programs in it", func(h *host) error {
			return errors.Join(os.Chmod(h.path("source/weft"), 0o644), os.Rename(h.path("source/bridge"), h.path("source/.bridge")))
		}, "there are no plugins to install in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			must(t, c.harm(h))
			_, err := h.sync(New(h.o), true)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			h.has(map[string]string{})
		})
	}
}

// TestSameContent compares files around the size of a piece.
func TestSameContent(t *testing.T) {
	h := newHost(t)
	text := func(n int, last string) string { return strings.Repeat("x", n) + last }
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"", "x", false}, {"x", "y", false}, {"xy", "xy", true}, {"xy", "x", false},
		{text(64<<10, ""), text(64<<10, ""), true}, {text(64<<10, ""), text(64<<10, "x"), false},
		{text(70<<10, "a"), text(70<<10, "a"), true}, {text(70<<10, "a"), text(70<<10, "b"), false},
	} {
		h.write("a", c.a, 0o644)
		h.write("b", c.b, 0o644)
		if got, err := sameContent(h.path("a"), h.path("b")); got != c.want || err != nil {
			t.Errorf("files of %d and %d bytes: %v, %v", len(c.a), len(c.b), got, err)
		}
	}
	if _, err := sameContent(h.path("a"), h.path("none")); err == nil {
		t.Error("a file that is not there was compared")
	}
}
