package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// The programs that tests install, by name: what is built is a plugin that says words when it is asked.
const (
	theirBridge = "github.com/containernetworking/plugins/plugins/main/bridge"
	bridgeFlag  = "-X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion="
)

// build describes a program.
type build struct {
	path  string // of its package
	flags string // for the linker
	words string // what it says
	trim  bool   // leave out the flags, as go build -trimpath does
}

// builds are all programs of the tests.
var builds = map[string]build{
	"bridge v1.0.0":          {path: theirBridge, flags: bridgeFlag + "v1.0.0"},
	"bridge v1.9.1":          {path: theirBridge, flags: "-s " + bridgeFlag + "v1.9.1"},
	"bridge v1.9.1 again":    {path: theirBridge, flags: bridgeFlag + "v1.9.1", words: "built by somebody else"},
	"bridge v1.10.0 asked":   {path: theirBridge, trim: true, words: "CNI bridge plugin v1.10.0\nCNI protocol versions supported: 0.4.0, 1.0.0"},
	"bridge 1.1.1 asked":     {path: theirBridge, trim: true, words: "CNI bridge plugin version 1.1.1"},
	"bridge unknown":         {path: theirBridge, trim: true, words: "CNI bridge plugin version unknown"},
	"bridge silent":          {path: theirBridge, trim: true},
	"another bridge v9.0.0":  {path: "example.com/bridge", flags: "-X main.version=v9.0.0"},
	"weft v1.0.0":            {path: ownProgram, trim: true, words: "weft v1.0.0: a CNI plugin, run by a container runtime"},
	"weft v1.1.0":            {path: ownProgram, trim: true, words: "weft v1.1.0: a CNI plugin, run by a container runtime"},
	"weft v1.1.0 again":      {path: ownProgram, trim: true, words: "weft v1.1.0: a CNI plugin, and another build of it"},
	"weft v1.1.0-3-gabc1234": {path: ownProgram, trim: true, words: "weft v1.1.0-3-gabc1234: a CNI plugin"},
	"weft devel":             {path: ownProgram, trim: true, words: "weft devel: a CNI plugin"},
}

// programs are the files of builds, made when the first one is wanted.
var programs = sync.OnceValues(func() (map[string]string, error) {
	if err := unix.Mount("builds", buildsDir, "tmpfs", 0, ""); err != nil {
		return nil, fmt.Errorf("making room for programs: %w", err)
	}
	files := map[string]string{}
	for name, b := range builds {
		module, _, _ := strings.Cut(b.path, "/plugins/main/")
		module = strings.TrimSuffix(module, "/cmd/weft")
		src := filepath.Join(buildsDir, name)
		pkg := filepath.Join(src, strings.TrimPrefix(b.path, module))
		main := fmt.Sprintf("package main\n\nimport \"os\"\n\nvar version = \"\"\n\nfunc main() { os.Stderr.WriteString(version + %q + \"\\n\") }\n", b.words)
		err := errors.Join(os.MkdirAll(pkg, 0o755),
			os.WriteFile(filepath.Join(src, "go.mod"), []byte("module "+module+"\n\ngo 1.26\n"), 0o644),
			os.WriteFile(filepath.Join(pkg, "main.go"), []byte(main), 0o644))
		if err != nil {
			return nil, err
		}
		files[name] = filepath.Join(buildsDir, name+".out")
		cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags", b.flags, fmt.Sprintf("-trimpath=%v", b.trim), "-o", files[name], ".")
		cmd.Dir, cmd.Env = pkg, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	return files, nil
})

// buildsDir is where the programs are made: in memory, in the namespaces of the tests.
const buildsDir = "/mnt"

// TestMain gives the tests namespaces of their own, in which they may mount.
func TestMain(m *testing.M) { kerneltest.Main(m) }

// content returns a program of builds, or the text itself where there is none of that name.
func content(t testing.TB, name string) []byte {
	t.Helper()
	if _, ok := builds[name]; !ok {
		return []byte(name)
	}
	files, err := programs()
	must(t, err)
	data, err := os.ReadFile(files[name])
	must(t, err)
	return data
}

// host is a node with the folders that an Installer works on.
type host struct {
	t   *testing.T
	dir string
	o   Options
	log *test.Hook
}

const (
	conf  = `{"name":"weft","cniVersion":"1.0.0","plugins":[{"type":"weft"},{"type":"bridge"}]}`
	other = `{"name":"weft","cniVersion":"1.0.0","plugins":[{"type":"weft","ipam":{}},{"type":"bridge"}]}`
)

// newHost makes a host with the source of the plugins bridge v1.9.1 and weft v1.1.0, the configuration to install, and
// nothing installed.
func newHost(t *testing.T) *host {
	h := &host{t: t, dir: t.TempDir()}
	log, hook := test.NewNullLogger()
	log.SetOutput(io.Discard)
	h.log = hook
	h.o = Options{SourceDir: h.path("source"), BinDir: h.path("bin"), Conf: h.path("etc/cni-conf.json"),
		ConfDir: h.path("net.d"), ConfName: "10-weft.conflist", Log: log}
	h.write("source/bridge", "bridge v1.9.1", 0o755)
	h.write("source/weft", "weft v1.1.0", 0o755)
	h.write("etc/cni-conf.json", conf, 0o644)
	must(t, os.MkdirAll(h.o.BinDir, 0o755))
	must(t, os.MkdirAll(h.o.ConfDir, 0o755))
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// write makes a file as others do: in place.
func (h *host) write(name, what string, mode fs.FileMode) {
	h.t.Helper()
	must(h.t, os.MkdirAll(filepath.Dir(h.path(name)), 0o755))
	must(h.t, os.WriteFile(h.path(name), content(h.t, what), mode))
	must(h.t, os.Chmod(h.path(name), mode))
}

// files lists what is in the folders of the host, each file with the name of what it holds.
func (h *host) files() map[string]string {
	h.t.Helper()
	list := map[string]string{}
	for _, dir := range []string{"bin", "net.d"} {
		entries, err := os.ReadDir(h.path(dir))
		must(h.t, err)
		for _, e := range entries {
			name := dir + "/" + e.Name()
			data, err := os.ReadFile(h.path(name))
			if err != nil {
				list[name] = e.Type().String()
				continue
			}
			list[name] = string(data)
			for build := range builds {
				if slices.Equal(data, content(h.t, build)) {
					list[name] = build
				}
			}
			if len(list[name]) > 1000 {
				list[name] = fmt.Sprintf("%d bytes", len(data))
			}
		}
	}
	return list
}

// stamps tell every state of the files from every other.
func (h *host) stamps() map[string]stamp {
	h.t.Helper()
	list := map[string]stamp{}
	must(h.t, filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err == nil {
			list[path] = stampOf(info)
		}
		return err
	}))
	return list
}

// sync makes a pass, and one more by another installer, which has no memory, as after a restart: neither that one nor a
// second pass of the first may change anything.
func (h *host) sync(i *Installer, letPodsIn bool) (Outcome, error) {
	h.t.Helper()
	out, err := i.Sync(h.t.Context(), letPodsIn)
	before := h.stamps()
	for n, second := range []*Installer{i, New(h.o)} {
		again, errAgain := second.Sync(h.t.Context(), letPodsIn)
		if len(again.Changed) > 0 {
			h.t.Errorf("second pass %d changed %q", n, again.Changed)
		}
		if fmt.Sprint(err) != fmt.Sprint(errAgain) && n == 0 {
			h.t.Errorf("error %v, then %v", err, errAgain)
		}
	}
	if diff := cmp.Diff(before, h.stamps(), cmp.AllowUnexported(stamp{})); diff != "" {
		h.t.Errorf("a second pass touched files:\n%s", diff)
	}
	return out, err
}

// has compares the files of the host with want.
func (h *host) has(want map[string]string) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.files()); diff != "" {
		h.t.Errorf("files of the host (-want +got):\n%s", diff)
	}
}

// logged returns the lines of the log at a level, each with the value of "because".
func (h *host) logged(level logrus.Level) []string {
	var lines []string
	for _, e := range h.log.AllEntries() {
		if e.Level == level {
			lines = append(lines, fmt.Sprintf("%s: %v", e.Message, e.Data["because"]))
		}
	}
	return lines
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
