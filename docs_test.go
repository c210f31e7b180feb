package weft

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// documents returns the text of every document in the tree by its path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, pattern := range []string{"*.md", "Documentation/*.md", "Documentation/*/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			docs[path] = read(t, path)
		}
	}
	if len(docs) < 10 {
		t.Fatalf("only %d documents found", len(docs))
	}
	return docs
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
)

// TestLinksLeadSomewhere follows each link between documents, to the heading if it names one.
func TestLinksLeadSomewhere(t *testing.T) {
	docs := documents(t)
	for path, text := range docs {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(docs[to]), anchor) {
				t.Errorf("%s links to %s: no such heading", path, m[1])
			}
		}
	}
}

// anchors returns the names under which the headings of a document can be linked to.
func anchors(text string) []string {
	var names []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			default:
				return -1
			}
		}, strings.TrimSpace(m[1])))
	}
	return names
}

// TestEveryDocumentIsLinked holds that a reader who begins at the README finds everything.
func TestEveryDocumentIsLinked(t *testing.T) {
	docs := documents(t)
	linked := map[string]bool{"README.md": true}
	for path, text := range docs {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			linked[filepath.Join(filepath.Dir(path), target)] = true
		}
	}
	for path := range docs {
		if !linked[path] {
			t.Errorf("no document links to %s", path)
		}
	}
}

// TestMakeTargetsExist holds that every "make something" in a document is a target.
func TestMakeTargetsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):.*## `).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, want := range []string{"demo", "test", "bench", "build", "lint", "clean"} {
		if !targets[want] {
			t.Errorf("the Makefile has no %s", want)
		}
	}
	for path, text := range documents(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^    )make ([a-z-]+)").FindAllStringSubmatch(text, -1) {
			if !targets[m[1]] {
				t.Errorf("%s: make %s is not a target", path, m[1])
			}
		}
	}
}

// TestContinuousIntegrationRunsTheTestCommand holds that .ci/run calls what the README says.
func TestContinuousIntegrationRunsTheTestCommand(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(read(t, ".ci/run")), "\n")
	last := lines[len(lines)-1]
	if last != "make test" || !strings.Contains(read(t, "README.md"), "\n    "+last+" ") {
		t.Errorf(".ci/run ends with %q; the README has to name the same", last)
	}
	if !strings.Contains(read(t, ".ci/run"), "set -euo pipefail") {
		t.Error(".ci/run goes on after failures")
	}
	if info, err := os.Stat(".ci/run"); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf(".ci/run cannot be run: %v", err)
	}
}

// rows returns what stands in backquotes in the first column of the tables below a heading, up to the next heading or
// the first line that begins with stop.
func rows(t *testing.T, text, after, stop string) []string {
	t.Helper()
	_, section, ok := strings.Cut(text, after)
	if !ok {
		t.Fatalf("no %q", after)
	}
	section, _, _ = strings.Cut(section, stop)
	var keys []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		keys = append(keys, m[1])
	}
	slices.Sort(keys)
	return keys
}

// TestConfigurationListsNetworkKeys compares the table with the struct that mirrors net-conf.json.
func TestConfigurationListsNetworkKeys(t *testing.T) {
	var want []string
	for _, f := range tree(t) {
		if f.dir() == "subnet" && !f.test {
			for _, field := range fields(f, "raw") {
				want = append(want, field.Names[0].Name)
			}
		}
	}
	slices.Sort(want)
	got := rows(t, read(t, "Documentation/configuration.md"), "## The network config", "### Backends")
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("-code +Documentation/configuration.md:\n%s", diff)
	}
}

// TestConfigurationListsBackendKeys compares the tables with the keys that each backend asks for. What is said of a backend begins
// with its type, and ends where another's begins.
func TestConfigurationListsBackendKeys(t *testing.T) {
	want := map[string][]string{}
	for _, f := range tree(t) {
		if !strings.HasPrefix(f.dir(), "backend/") || f.test || isTestSupport(f.dir()) {
			continue
		}
		kind := strings.Replace(path.Base(f.dir()), "hostgw", "host-gw", 1)
		want[kind] = append(want[kind], []string{}...)
		ast.Inspect(f.File, func(n ast.Node) bool {
			if key, ok := askedKey(n); ok {
				want[kind] = append(want[kind], key)
			}
			return true
		})
		slices.Sort(want[kind])
	}
	_, text, _ := strings.Cut(read(t, "Documentation/configuration.md"), "### Backends")
	text, _, _ = strings.Cut(text, "### Changes")
	got := map[string][]string{}
	for kind := range want {
		section := regexp.MustCompile("(?m)^`" + kind + "` [a-z]").FindStringIndex(text)
		if section == nil {
			t.Errorf("Documentation/configuration.md: no paragraph begins with `%s`", kind)
			continue
		}
		rest, end := text[section[1]:], len(text)
		for other := range want {
			if next := regexp.MustCompile("(?m)^`" + other + "` [a-z]").FindStringIndex(rest); next != nil {
				end = min(end, section[1]+next[0])
			}
		}
		keys := rows(t, text[section[0]:end], "`"+kind+"`", "###")
		got[kind] = slices.DeleteFunc(keys, func(k string) bool { return k == "Type" })
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-code +Documentation/configuration.md:\n%s", diff)
	}
}

// askedKey returns the key if n is a call like r.Int("Key", ...) of a backend.Reader.
func askedKey(n ast.Node) (string, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Int", "Bool", "Text", "Secret"}, sel.Sel.Name) {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	key, err := strconv.Unquote(literal.Value)
	return key, err == nil
}

// TestConfigurationListsPluginKeys compares the table with the struct that mirrors the plugin's configuration, less what the
// runtime fills in.
func TestConfigurationListsPluginKeys(t *testing.T) {
	var want []string
	for _, f := range tree(t) {
		if f.dir() != "cmd/weft" || f.test {
			continue
		}
		for _, field := range fields(f, "conf") {
			tag, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}
			key := reflect.StructTag(tag).Get("json")
			if !strings.Contains(key, "/") && key != "prevResult" && key != "runtimeConfig" {
				want = append(want, key)
			}
		}
	}
	slices.Sort(want)
	got := rows(t, read(t, "Documentation/configuration.md"), "## The CNI plugin", "What the delegate is given")
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("-code +Documentation/configuration.md:\n%s", diff)
	}
}

// fields returns the fields of the named struct type, if f declares it.
func fields(f file, name string) []*ast.Field {
	var list []*ast.Field
	ast.Inspect(f.File, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == name {
			if s, ok := spec.Type.(*ast.StructType); ok {
				list = s.Fields.List
			}
		}
		return true
	})
	return list
}

// TestEmbeddingNamesWhatExists looks for the packages of the table, and for the options that are explained.
func TestEmbeddingNamesWhatExists(t *testing.T) {
	text := read(t, "Documentation/embedding.md")
	var options []string
	packages := map[string]bool{}
	for _, f := range tree(t) {
		packages[f.dir()] = true
		if f.dir() != "network" || f.test {
			continue
		}
		for _, field := range fields(f, "Options") {
			for _, name := range field.Names {
				options = append(options, name.Name)
			}
		}
	}
	_, table, _ := strings.Cut(text, "| package | |")
	table, rest, _ := strings.Cut(table, "## ")
	named := regexp.MustCompile("(?m)`([a-z/]+)`[^|]* \\|").FindAllStringSubmatch(table, -1)
	for _, m := range named {
		if !packages[m[1]] {
			t.Errorf("there is no package %s", m[1])
		}
	}
	explained := regexp.MustCompile("(?m)\\*\\*`([A-Za-z]+)`\\*\\*").FindAllStringSubmatch(rest, -1)
	for _, m := range explained {
		if !slices.Contains(options, m[1]) && m[1] != "New" {
			t.Errorf("there is no option %s", m[1])
		}
	}
	if len(named) < 5 || len(explained) < 4 {
		t.Errorf("%d packages and %d options found, this cannot be all", len(named), len(explained))
	}
}

// TestRunningListsMetrics compares the table with the names in the code.
func TestRunningListsMetrics(t *testing.T) {
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^\t"(weft_[a-z_]+)":`).FindAllStringSubmatch(read(t, "network/metrics.go"), -1) {
		want = append(want, m[1])
	}
	slices.Sort(want)
	got := rows(t, read(t, "Documentation/running.md"), "## Metrics", "\n## ")
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("-code +Documentation/running.md:\n%s", diff)
	}
}

// TestDocumentsArePlain holds that documents neither praise nor promise.
func TestDocumentsArePlain(t *testing.T) {
	for path, text := range documents(t) {
		for _, word := range []string{"TODO", "FIXME", "seamless", "blazing", "powerful", "simply ", "/work/", "/root/"} {
			if strings.Contains(text, word) {
				t.Errorf("%s: %q", path, word)
			}
		}
	}
}
