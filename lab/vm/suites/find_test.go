package suites

import (
	"cmp"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	diff "github.com/google/go-cmp/cmp"
)

// suite is a package with tests for virtual machines.
type suite struct {
	dir   string
	tests []string
	build func() error // the test binary, once
}

// binary is the file name of the package's test binary.
func (s suite) binary() string { return strings.ReplaceAll(s.dir, "/", "-") + ".test" }

var guestTest = regexp.MustCompile(`(?m)^func (TestGuest\w*)\(\w+ \*testing\.T\)`)

// find returns the packages of the module at tree that have such tests, both sorted.
func find(tree fs.FS) ([]suite, error) {
	tests := map[string][]string{}
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || p != "." && strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		for _, m := range guestTest.FindAllStringSubmatch(string(text), -1) {
			tests[path.Dir(p)] = append(tests[path.Dir(p)], m[1])
		}
		return nil
	})
	var suites []suite
	for dir, names := range tests {
		slices.Sort(names)
		suites = append(suites, suite{dir: dir, tests: names})
	}
	slices.SortFunc(suites, func(a, b suite) int { return cmp.Compare(a.dir, b.dir) })
	return suites, err
}

func TestFind(t *testing.T) {
	got, err := find(fstest.MapFS{
		"network/kernel/a_test.go":          {Data: []byte("package kernel\n\nfunc TestGuestB(t *testing.T) {\n}\nfunc TestGuestA(tt *testing.T) {}\n")},
		"network/kernel/b_test.go":          {Data: []byte("func TestHost(t *testing.T) {}\n// func TestGuestC(t *testing.T) {\nfunc TestGuestD(t testing.TB) {}\n")},
		"network/kernel/c.go":               {Data: []byte("func TestGuestE(t *testing.T) {}\n")},
		"network/kernel/testdata/d_test.go": {Data: []byte("func TestGuestF(t *testing.T) {}\n")},
		"lab/e_test.go":                     {Data: []byte("func TestGuest(t *testing.T) {}\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []suite{{dir: "lab", tests: []string{"TestGuest"}}, {dir: "network/kernel", tests: []string{"TestGuestA", "TestGuestB"}}}
	if d := diff.Diff(want, got, diff.AllowUnexported(suite{})); d != "" {
		t.Errorf("found (-want +got):\n%s", d)
	}
}
