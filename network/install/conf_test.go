package install

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestConfigurationComesLast holds that nothing but the plugins is installed until pods may be let in.
func TestConfigurationComesLast(t *testing.T) {
	h := newHost(t)
	i := New(h.o)
	out, err := h.sync(i, false)
	must(t, err)
	plugins := map[string]string{"bin/bridge": "bridge v1.9.1", "bin/weft": "weft v1.1.0"}
	h.has(plugins)
	if diff := cmp.Diff([]string{h.path("bin/bridge"), h.path("bin/weft")}, out.Changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	out, err = h.sync(i, true)
	must(t, err)
	plugins["net.d/10-weft.conflist"] = conf
	h.has(plugins)
	if diff := cmp.Diff([]string{h.path("net.d/10-weft.conflist")}, out.Changed); diff != "" || len(out.Warnings) > 0 {
		t.Errorf("warnings %q; changed (-want +got):\n%s", out.Warnings, diff)
	}
	if info, err := os.Stat(h.path("net.d/10-weft.conflist")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestConfigurationStays holds that a restarted installer lets a configuration be that is there, also one that is not the newest,
// until pods may be let in.
func TestConfigurationStays(t *testing.T) {
	h := newHost(t)
	h.write("net.d/10-weft.conflist", other, 0o600)
	i := New(h.o)
	_, err := h.sync(i, false)
	must(t, err)
	if got := h.files()["net.d/10-weft.conflist"]; got != other {
		t.Errorf("it became %s", got)
	}
	_, err = h.sync(i, true)
	must(t, err)
	if got := h.files()["net.d/10-weft.conflist"]; got != conf {
		t.Errorf("it stayed %s", got)
	}
}

func TestPutBack(t *testing.T) {
	h := newHost(t)
	i := New(h.o)
	_, err := h.sync(i, true)
	must(t, err)
	want := h.files()
	for _, c := range []struct {
		name string
		harm func() error
	}{
		{"configuration removed", func() error { return os.Remove(h.path("net.d/10-weft.conflist")) }},
		{"configuration damaged", func() error { return os.WriteFile(h.path("net.d/10-weft.conflist"), []byte("{"), 0o600) }},
		{"configuration changed", func() error { return os.WriteFile(h.path("net.d/10-weft.conflist"), []byte(other), 0o600) }},
		{"configuration's folder removed", func() error { return os.RemoveAll(h.path("net.d")) }},
		{"plugin removed", func() error { return os.Remove(h.path("bin/weft")) }},
		{"plugin damaged", func() error { return os.Truncate(h.path("bin/bridge"), 1000) }},
		{"plugin emptied", func() error { return os.Truncate(h.path("bin/bridge"), 0) }},
		{"plugin not executable", func() error { return os.Chmod(h.path("bin/bridge"), 0o600) }},
		{"plugin replaced by an older one", func() error { return os.WriteFile(h.path("bin/weft"), content(t, "weft v1.0.0"), 0o755) }},
		{"plugins' folder removed", func() error { return os.RemoveAll(h.path("bin")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			must(t, c.harm())
			out, err := h.sync(i, true)
			if err != nil || len(out.Changed) == 0 {
				t.Errorf("changed %q, %v", out.Changed, err)
			}
			h.has(want)
		})
	}
}

// mistakes are configurations that no runtime would take, with what has to be said of them.
var mistakes = []struct{ name, text, want string }{
	{"not JSON", "{\n  \"name\": weft\n}", "line 2: invalid character 'w'"},
	{"cut off", `{"name":"weft","plugins":[`, "unexpected end of JSON input"},
	{"empty", " \n", "it is empty"},
	{"a list", `[]`, "it is not a JSON object as the CNI wants it"},
	{"no plugins", `{"name":"weft"}`, `it has no "plugins"`},
	{"no plugin", `{"name":"weft","plugins":[]}`, `it has no "plugins"`},
	{"no name", `{"plugins":[{"type":"weft"}]}`, `it has no "name"`},
	{"a name in capitals", `{"Name":"weft","plugins":[{"type":"weft"}]}`, `it has no "name"`},
	{"a name that leads elsewhere", `{"name":"../x","plugins":[{"type":"weft"}]}`, `its "name" "../x" has other characters`},
	{"no type", `{"name":"weft","plugins":[{"type":"weft"},{}]}`, `plugin 2 of its "plugins" has no "type"`},
	{"a type that leads elsewhere", `{"name":"weft","plugins":[{"type":"../sh"}]}`, `has the "type" "../sh", which is not the name of a program`},
	{"a number for a name", `{"name":1,"plugins":[{"type":"weft"}]}`, `"name": json: cannot unmarshal number`},
	{"a single plugin's configuration", `{"name":"weft","type":"weft"}`, `it has no "plugins"`},
	{"a version that is none", `{"name":"weft","cniVersion":"one","plugins":[{"type":"weft"}]}`, `"cniVersion" "one" is not a version`},
	{"two mistakes", `{}`, "it has no \"name\"\nit has no \"plugins\""},
}

// TestMistakesAreRefused holds that the reason is told, and that the last good configuration stays in force: while the
// agent runs, after its restart, and after a reboot.
func TestMistakesAreRefused(t *testing.T) {
	const stays = "; the last good one stays in force"
	for _, c := range mistakes {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.write("etc/cni-conf.json", c.text, 0o644)
			_, err := h.sync(New(h.o), true)
			if err == nil || !strings.Contains(err.Error(), "the CNI configuration "+h.o.Conf+" is refused: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("with none in force: error %v, want %q", err, c.want)
			}
			if got, there := h.files()["net.d/10-weft.conflist"]; there {
				t.Errorf("%s was installed", got)
			}
			i := h.installed(conf)
			h.write("etc/cni-conf.json", c.text, 0o644)
			h.refuses(i, c.want, stays)
			h.refuses(New(h.o), c.want, stays)
			must(t, os.Remove(h.path("net.d/10-weft.conflist")))
			h.refuses(i, c.want, stays)
			rebooted := New(h.o)
			if removed, err := rebooted.Retract(); !removed || err != nil {
				t.Errorf("retract: %v, %v", removed, err)
			}
			h.refuses(rebooted, c.want, stays)
			h.write("etc/cni-conf.json", other, 0o644)
			out, err := h.sync(rebooted, true)
			if got := h.files()["net.d/10-weft.conflist"]; err != nil || got != other || len(out.Warnings) > 0 {
				t.Errorf("mended: %v, %v, in force %s", err, out.Warnings, got)
			}
		})
	}
}

// installed has an installer install text.
func (h *host) installed(text string) *Installer {
	h.t.Helper()
	h.write("etc/cni-conf.json", text, 0o644)
	i := New(h.o)
	_, err := h.sync(i, true)
	must(h.t, err)
	return i
}

// refuses holds that a pass ends with conf in force and a warning that has all words.
func (h *host) refuses(i *Installer, words ...string) {
	h.t.Helper()
	out, err := i.Sync(h.t.Context(), true)
	if got := h.files()["net.d/10-weft.conflist"]; err != nil || got != conf {
		h.t.Errorf("error %v, in force %s", err, got)
	}
	for _, w := range words {
		if len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], w) {
			h.t.Errorf("warnings %q do not say %q", out.Warnings, w)
		}
	}
}

// TestConfigurationMissing is about a ConfigMap that is not there, or is gone.
func TestConfigurationMissing(t *testing.T) {
	h := newHost(t)
	must(t, os.Remove(h.o.Conf))
	i := New(h.o)
	for _, letIn := range []bool{false, true} {
		if _, err := h.sync(i, letIn); err == nil || !strings.Contains(err.Error(), "there is no CNI configuration to install at "+h.o.Conf) {
			t.Errorf("error %v", err)
		}
	}
	i = h.installed(conf)
	must(t, os.Remove(h.o.Conf))
	h.refuses(i, "there is no CNI configuration to install", "stays in force")
	h.refuses(New(h.o), "there is no CNI configuration to install", "stays in force")
}

// TestConfigMap exchanges the configuration as the kubelet does: files in a folder of their own, to which the link ..data leads.
func TestConfigMap(t *testing.T) {
	h := newHost(t)
	h.mount("1", conf)
	i := New(h.o)
	for n, text := range []string{conf, other, conf} {
		h.mount(string(rune('2'+n)), text)
		_, err := h.sync(i, true)
		must(t, err)
		if got := h.files()["net.d/10-weft.conflist"]; got != text {
			t.Errorf("in force %s, want %s", got, text)
		}
	}
}

// mount exchanges the mounted ConfigMap, as the kubelet does.
func (h *host) mount(version, text string) {
	h.t.Helper()
	h.write("etc/.."+version+"/cni-conf.json", text, 0o644)
	old, _ := os.Readlink(h.path("etc/..data"))
	must(h.t, os.Symlink(".."+version, h.path("etc/..data_tmp")))
	must(h.t, os.Rename(h.path("etc/..data_tmp"), h.path("etc/..data")))
	if old == "" {
		must(h.t, os.RemoveAll(h.o.Conf))
		must(h.t, os.Symlink("..data/cni-conf.json", h.o.Conf))
	} else {
		must(h.t, os.RemoveAll(h.path("etc/"+old)))
	}
}

func TestRetract(t *testing.T) {
	h := newHost(t)
	flannels := `{"name":"cbr0","plugins":[{"type":"flannel"}]}`
	h.write("net.d/10-flannel.conflist", flannels, 0o600)
	for _, names := range [][]string{{"10-weft.conflist"}, {"20-weft.conflist"}, {"05-weft.conflist", "10-weft.conflist"}} {
		for _, name := range names {
			h.write("net.d/"+name, other, 0o600)
		}
		i := New(h.o)
		for _, want := range []bool{true, false} {
			if got, err := i.Retract(); got != want || err != nil {
				t.Errorf("%s: removed %v, %v; want %v", names, got, err, want)
			}
			h.has(map[string]string{"net.d/10-flannel.conflist": flannels})
		}
	}
}

// TestRivals is about the order in which runtimes take configurations.
func TestRivals(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  string // in the warning; "" for none
	}{
		{"alone", nil, ""},
		{"after ours", []string{"20-other.conflist", "10-weft.conflist~", "11-a.conf"}, ""},
		{"before ours, of a kind that is not read", []string{"05-other.bak", "00-README", ".10-flannel.conflist.12"}, ""},
		{"flannel's", []string{"10-flannel.conflist"}, "takes the CNI configuration 10-flannel.conflist in "},
		{"several", []string{"05-a.json", "10-calico.conf", "99-b.conf"}, "05-a.json and 10-calico.conf in "},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			for _, name := range c.files {
				h.write("net.d/"+name, "{}", 0o644)
			}
			out, err := h.sync(New(h.o), true)
			must(t, err)
			text := strings.Join(out.Warnings, "\n")
			if (text != "") != (c.want != "") || !strings.Contains(text, c.want) || text != "" && !strings.Contains(text, "--cni-conf-name") {
				t.Errorf("warnings %q, want %q", text, c.want)
			}
		})
	}
}

// TestAnotherName is about what was installed before the name was changed: as soon as the network has its configuration
// under the new name it goes, so that no runtime finds it after a reboot.
func TestAnotherName(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		goes             bool
	}{
		{"before ours", "05-weft.conflist", conf, true},
		{"after ours", "20-weft.conflist", other, true},
		{"another network", "20-weft.conflist", `{"name":"pods","plugins":[{"type":"weft"}]}`, false},
		{"another plugin's", "20-weft.conflist", `{"name":"weft","plugins":[{"type":"flannel"}]}`, false},
		{"of a plugin that calls others", "20-weft.conflist", `{"name":"weft","plugins":[{"type":"multus"},{"type":"weft"}]}`, false},
		{"not usable", "20-weft.conflist", `{"name":"weft"`, false},
		{"no runtime reads it", "20-weft.conflist.bak", conf, false},
		{"a link", "20-weft.conflist", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			old := h.path("net.d/" + c.file)
			if c.text == "" {
				must(t, os.Symlink(h.o.Conf, old))
			} else {
				h.write("net.d/"+c.file, c.text, 0o600)
			}
			i := New(h.o)
			_, err := h.sync(i, false)
			must(t, err)
			if _, err := os.Lstat(old); err != nil {
				t.Errorf("it went before there was another: %v", err)
			}
			out, err := h.sync(i, true)
			must(t, err)
			if _, err := os.Lstat(old); (err != nil) != c.goes {
				t.Errorf("gone: %v, want %v", err, c.goes)
			}
			if c.goes && (len(out.Warnings) > 0 || len(out.Changed) == 0 || out.Changed[len(out.Changed)-1] != old) {
				t.Errorf("changed %q, warnings %q", out.Changed, out.Warnings)
			}
			if got := h.files()["net.d/10-weft.conflist"]; got != conf {
				t.Errorf("in force %s", got)
			}
		})
	}
}

// TestLackingPlugins names those of the configuration that nobody installed.
func TestLackingPlugins(t *testing.T) {
	h := newHost(t)
	h.write("etc/cni-conf.json", `{"name":"weft","plugins":[{"type":"weft"},{"type":"portmap"},{"type":"tuning"}]}`, 0o644)
	i := New(h.o)
	out, err := h.sync(i, true)
	must(t, err)
	if text := strings.Join(out.Warnings, "\n"); !strings.Contains(text, h.o.BinDir+": portmap, tuning; install them") {
		t.Errorf("warnings %q", text)
	}
	h.write("bin/portmap", "#!/bin/sh\n", 0o755)
	must(t, os.Symlink("/elsewhere/tuning", h.path("bin/tuning")))
	if out, err = h.sync(i, true); err != nil || len(out.Warnings) > 0 {
		t.Errorf("warnings %q, %v", out.Warnings, err)
	}
}

func TestCheck(t *testing.T) {
	good := Options{SourceDir: "a", BinDir: "b", Conf: "c", ConfDir: "d", ConfName: "10-weft.conflist"}
	must(t, good.Check())
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{}, []string{"plugins to install", "host's CNI plugins", "file of the CNI configuration", "host's CNI configuration", `name ""`}},
		{Options{SourceDir: "a", BinDir: "b", Conf: "c", ConfDir: "d", ConfName: "../x.conflist"}, []string{"../x.conflist"}},
		{Options{SourceDir: "a", BinDir: "b", Conf: "c", ConfDir: "d", ConfName: "weft.conf"}, []string{"weft.conf", "ends in .conflist"}},
		{Options{SourceDir: "a", BinDir: "b", Conf: "c", ConfDir: "d", ConfName: ".conflist"}, []string{`".conflist"`}},
	} {
		err := c.o.Check()
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: error %v does not say %q", c.o, err, w)
			}
		}
	}
}

// TestSampleIsTaken holds that the configuration that comes with Weft can be installed.
func TestSampleIsTaken(t *testing.T) {
	text, err := os.ReadFile("../../dist/10-weft.conflist")
	must(t, err)
	got, err := parseConf(text)
	if diff := cmp.Diff([]string{"weft", "portmap", "bandwidth"}, got); err != nil || diff != "" {
		t.Errorf("%v; plugins (-want +got):\n%s", err, diff)
	}
}

func FuzzParseConf(f *testing.F) {
	for _, c := range mistakes {
		f.Add([]byte(c.text))
	}
	f.Add([]byte(conf))
	f.Fuzz(func(t *testing.T, text []byte) {
		plugins, err := parseConf(text)
		if err != nil {
			return
		}
		if !json.Valid(text) || len(plugins) == 0 {
			t.Fatalf("taken: %q with the plugins %q", text, plugins)
		}
		for _, p := range plugins {
			if filepath.Base(p) != p {
				t.Fatalf("taken: a plugin %q", p)
			}
		}
	})
}
