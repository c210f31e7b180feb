package weft

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weft-network/weft"

// file is one Go file of the tree.
type file struct {
	path string // from the root, with slashes
	test bool
	*ast.File
	*token.FileSet
}

// dir is the folder of the file, which names its package.
func (f file) dir() string { return path.Dir(f.path) }

// position says where n is, for messages.
func (f file) position(n ast.Node) string { return f.Position(n.Pos()).String() }

// tree parses every Go file of the module.
func tree(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (d.Name() == "testdata" || p == "bin" || strings.HasPrefix(d.Name(), ".") || isModule(p)) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, file{filepath.ToSlash(p), strings.HasSuffix(p, "_test.go"), parsed, set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// isModule tells whether dir is the top of a module of its own.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// within tells whether the package or folder p is one of dirs, or below one that ends in "/".
func within(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool {
		return p == strings.TrimSuffix(d, "/") || strings.HasSuffix(d, "/") && strings.HasPrefix(p, d)
	})
}

// arrows say which packages of the module those in a folder may import. The first that fits counts. A package may
// always import what lies below itself.
var arrows = []struct {
	from string
	to   []string
}{
	{".", []string{"subnet/"}},
	{"subnet/", []string{"subnet/"}},
	{"network/kernel/", nil},
	{"network/masq/", []string{"subnet"}},
	{"network/install/", []string{"subnet"}},
	{"backend/", []string{"backend/", "subnet", "network/kernel"}},
	{"network/engine/", []string{"network/engine/", "backend", "subnet", "network/kernel"}},
	{"network/", []string{"backend", "subnet", "network/kernel", "network/masq"}},
	{"cmd/internal/", []string{"cmd/internal/", "backend/", "subnet/", "network", "network/kernel"}},
	{"cmd/weft", []string{"subnet"}},
	{"cmd/weftd", []string{"cmd/internal/", "backend", "network/", "subnet/"}},
	{"cmd/weftctl", []string{"cmd/internal/", "backend", "network/", "subnet/", "lab/"}},
	{"lab/", []string{"backend/", "network/", "subnet/"}},
	{"Documentation/examples/", []string{"backend/", "network", "subnet/"}},
	{"bench/", []string{"bench/", "backend/", "network/", "subnet/", "lab/"}},
}

// isTestSupport tells whether only tests import the package, from wherever they are. The lab is a tool of weftctl too.
func isTestSupport(p string) bool {
	return strings.HasSuffix(p, "test") || p == "subnet/memory" || within(p, []string{"lab/"})
}

// foreign says which packages may import a library, beside tests and packages that are for tests: these need what
// they need to look from outside.
var foreign = map[string][]string{
	"github.com/vishvananda/netlink":         {"network/kernel/", "lab/", "bench/"},
	"github.com/vishvananda/netns":           {"network/kernel/", "lab/", "bench/"},
	"golang.zx2c4.com/wireguard/wgctrl":      {"network/kernel/"},
	"github.com/google/nftables":             {"network/masq/", "lab/", "bench/"},
	"github.com/coreos/go-iptables":          {"network/masq/"},
	"go.etcd.io/etcd":                        {"subnet/etcd/", "lab/", "bench/"},
	"k8s.io":                                 {"subnet/kube/", "bench/"},
	"github.com/containernetworking/cni":     {"cmd/weft", "lab/"},
	"github.com/containernetworking/plugins": {"cmd/weft", "lab/"},
	"github.com/prometheus/client_golang":    {"network"},
	"github.com/coreos/go-systemd/v22":       {"cmd/weftd"},
	"github.com/strongswan/govici":           {"network/engine/ipsec"},
	"github.com/spf13/cobra":                 {"cmd/"},
	"github.com/spf13/pflag":                 {"cmd/"},
	"golang.zx2c4.com/wireguard/conn":        {"network/engine/"},
	"golang.zx2c4.com/wireguard/device":      {"network/engine/"},
	"golang.zx2c4.com/wireguard/tun":         {"network/engine/"},
	"github.com/google/go-cmp":               nil,
	"testing":                                {"bench/"},
}

func TestImports(t *testing.T) {
	for _, f := range tree(t) {
		if f.path == "deps.go" {
			continue
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if problem := judgeImport(f, p); problem != "" {
				t.Errorf("%s imports %s: %s", f.position(spec), p, problem)
			}
			if spec.Name != nil && spec.Name.Name == "_" && p != "embed" {
				t.Errorf("%s imports %s for its side effects", f.position(spec), p)
			}
		}
	}
}

// judgeImport returns what is wrong with f importing p, or "".
func judgeImport(f file, p string) string {
	if own, ok := strings.CutPrefix(p, module+"/"); ok {
		if isTestSupport(own) {
			if f.test || isTestSupport(f.dir()) || f.dir() == "cmd/weftctl" || within(f.dir(), []string{"bench/"}) {
				return ""
			}
			return "only tests may"
		}
		if within(own, []string{f.dir() + "/"}) || f.test && within(f.dir(), []string{"network", "network/engine/"}) && within(own, []string{"backend/"}) {
			return "" // the agent and its engines are tested with real backends
		}
		if f.test && f.dir() == "cmd/weft" && own == "network/kernel" {
			return "" // the plugin is held to what the agent calls networks
		}
		for _, a := range arrows {
			if within(f.dir(), []string{a.from}) {
				if within(own, a.to) {
					return ""
				}
				return "it may import, of this module, " + strings.Join(append([]string{"nothing"}, a.to...)[min(1, len(a.to)):], ", ")
			}
		}
		return "no arrow is written down for " + f.dir()
	}
	for library, dirs := range foreign {
		if !f.test && !isTestSupport(f.dir()) && within(p, []string{library, library + "/"}) && !within(f.dir(), dirs) {
			return "only " + strings.Join(append(dirs, "tests"), ", ") + " may"
		}
	}
	return ""
}

// TestPluginIsSmall holds that the CNI plugin, which starts for every pod, is free of what makes a start slow.
func TestPluginIsSmall(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/weft").Output()
	if err != nil {
		t.Fatalf("go list -deps ./cmd/weft: %v", err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 10 {
		t.Fatalf("only %d dependencies, this cannot be true: %v", len(deps), deps)
	}
	for _, p := range deps {
		for _, not := range []string{"go.etcd.io", "google.golang.org/grpc", "k8s.io", "github.com/vishvananda/netlink",
			"github.com/spf13/cobra", "github.com/prometheus", "net/http"} {
			if within(p, []string{not, not + "/"}) {
				t.Errorf("cmd/weft depends on %s", p)
			}
		}
	}
}

// TestArrowsAreJudged holds that the rules above refuse what they are there to refuse.
func TestArrowsAreJudged(t *testing.T) {
	for _, tt := range []struct {
		path, imports string
		ok            bool
	}{
		{"subnet/etcd/store.go", module + "/subnet", true},
		{"subnet/etcd/store.go", "go.etcd.io/etcd/client/v3", true},
		{"subnet/lease.go", module + "/network/kernel", false},
		{"network/kernel/list.go", module + "/subnet", false},
		{"subnet/kube/client.go", "k8s.io/client-go/rest", true},
		{"network/agent.go", "k8s.io/client-go/rest", false},
		{"network/kernel/list.go", "github.com/vishvananda/netlink", true},
		{"network/agent.go", "github.com/vishvananda/netlink", false},
		{"network/agent.go", module + "/backend/vxlan", false},
		{"network/agent.go", module + "/cmd/weftd", false},
		{"network/agent_test.go", "github.com/vishvananda/netlink", true},
		{"network/agent_test.go", module + "/network/kernel/kerneltest", true},
		{"network/agent.go", module + "/network/kernel/kerneltest", false},
		{"backend/vxlan/vxlan.go", module + "/network", false},
		{"cmd/weft/main.go", module + "/network", false},
		{"Documentation/examples/embed/main.go", module + "/network", true},
		{"Documentation/examples/embed/main.go", module + "/cmd/internal/wire", false},
		{"elsewhere/x.go", module + "/subnet", false},
	} {
		f := file{path: tt.path, test: strings.HasSuffix(tt.path, "_test.go")}
		if problem := judgeImport(f, tt.imports); (problem == "") != tt.ok {
			t.Errorf("%s imports %s: judged %q", tt.path, tt.imports, problem)
		}
	}
}
