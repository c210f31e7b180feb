package suites

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/weft-network/weft/lab/vm"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// root is the top of the module.
const root = "../../.."

// needs says what the machines for some packages have beyond the usual.
func needs(dir string) vm.Options {
	charon := []string{"charon-systemd", "libstrongswan-standard-plugins"}
	return map[string]vm.Options{
		"lab":                  {Memory: 1536, Packages: charon},
		"network":              {Packages: charon},
		"network/engine/ipsec": {Packages: charon},
	}[dir]
}

// everythingEnv asks for the lab's suites in all combinations in every kernel when it is "all". It takes nearly twice as long.
const everythingEnv = "WEFT_GUESTS"

// suiteTest is the test whose suites are divided between the kernels, each backend's with each combination of families to one.
const suiteTest = "^TestGuestBackends$"

// elsewhere are the suites that a kernel's machine leaves to the other one. They are divided so that both take the same time.
func elsewhere(kernel string) []string {
	if kernel == vm.Kernels()[0] {
		return []string{suiteTest + "/.*/^(ipv4|ipv6)$", suiteTest + "/^ipip$/^dual$"}
	}
	return []string{suiteTest + "/^(wireguard|ipsec)$/^dual$"}
}

// skips are the tests that a machine leaves out.
func skips(kernel, dir string, everything bool) string {
	if dir != "lab" || everything {
		return ""
	}
	return strings.Join(elsewhere(kernel), "|")
}

// TestMachines runs all tests with the prefix, each package's in a machine of its own: one after the other for each of the kernels, which
// are beside each other.
func TestMachines(t *testing.T) {
	packages, err := find(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) == 0 {
		t.Fatal("no package has a test for virtual machines")
	}
	bins := t.TempDir()
	for i := range packages {
		packages[i].build = sync.OnceValue(func() error { return build(t.Context(), bins, packages[i]) }) // for whichever kernel comes first
	}
	for _, kernel := range vm.Kernels() {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			for _, p := range packages {
				t.Run(p.dir, func(t *testing.T) { p.runIn(t, kernel, bins) })
			}
		})
	}
}

// runIn runs the package's tests in a machine.
func (s suite) runIn(t *testing.T, kernel, bins string) {
	if err := s.build(); err != nil {
		t.Fatal(err)
	}
	o, err := run(t.Context(), options(t, bins, kernel, s))
	if err != nil {
		t.Errorf("%v\n%s", err, o.text())
	}
	for _, name := range s.tests {
		t.Run(name, func(t *testing.T) { judge(t, o, name) })
	}
}

// judge fails the test unless the one of that name passed in the machine.
func judge(t *testing.T, o outcome, name string) {
	t.Helper()
	if problem := o.problem(name); problem != "" {
		t.Errorf("%s\n%s", problem, o.output[name])
		return
	}
	t.Logf("in the machine:\n%s", o.output[name])
}

// TestSkips holds that each suite runs in one kernel, and that nothing is left out elsewhere or where all is asked for.
func TestSkips(t *testing.T) {
	for _, backend := range []string{"ipip", "wireguard", "ipsec"} {
		for _, families := range []string{"ipv4", "ipv6", "dual"} {
			var in []string
			for _, kernel := range vm.Kernels() {
				if !leavesOut(t, elsewhere(kernel), "TestGuestBackends", backend, families) {
					in = append(in, kernel)
				}
			}
			if len(in) != 1 {
				t.Errorf("%s with %s runs in %q, want one", backend, families, in)
			}
		}
	}
	for dir, everything := range map[string]bool{"lab": true, "network/kernel": false} {
		if got := skips(vm.Kernels()[0], dir, everything); got != "" {
			t.Errorf("%s, everything %t: %q is left out", dir, everything, got)
		}
	}
}

// leavesOut tells whether -test.skip with these patterns leaves out the test with this path.
func leavesOut(t *testing.T, patterns []string, path ...string) bool {
	t.Helper()
	for _, pattern := range patterns {
		out := true
		for i, word := range strings.Split(pattern, "/") {
			ok, err := regexp.MatchString(word, path[i])
			if err != nil {
				t.Fatal(err)
			}
			out = out && ok
		}
		if out {
			return true
		}
	}
	return false
}

// build makes the test binary of a package, and the programs that the lab's runs.
func build(ctx context.Context, bins string, p suite) error {
	binary := filepath.Join(bins, p.binary())
	err := command(ctx, root, nil, "go", "test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./"+p.dir)
	if err != nil || p.dir != "lab" {
		return err
	}
	programs := filepath.Join(bins, "programs")
	if err := os.Mkdir(programs, 0o755); err != nil {
		return err
	}
	return command(ctx, filepath.Join(root, "lab"), []string{"WEFT_LAB_BUILD=" + programs}, binary)
}

// command runs a program, which may build without C, in the folder dir.
func command(ctx context.Context, dir string, env []string, args ...string) error {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Dir = dir
	c.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false"), env...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// options are those of the machine for a package.
func options(t *testing.T, bins, kernel string, p suite) vm.Options {
	t.Helper()
	o := needs(p.dir)
	o.Kernel = kernel
	o.Command = vm.Quote("./"+p.binary(), "-test.v=test2json", "-test.run=^"+kerneltest.GuestPrefix, "-test.timeout=0",
		"-test.skip="+skips(kernel, p.dir, os.Getenv(everythingEnv) == "all"))
	o.Files = []vm.File{{From: filepath.Join(bins, p.binary())}}
	if data := filepath.Join(root, p.dir, "testdata"); isFolder(data) {
		o.Files = append(o.Files, vm.File{From: data})
	}
	if p.dir == "lab" {
		o.Files = append(o.Files, vm.File{From: filepath.Join(bins, "programs")})
		o.Env = []string{"WEFT_LAB_BUILT=/root/programs"}
	}
	return o
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// run runs a machine whose command is a test binary, and returns what became of the tests. There is an outcome beside an
// error as well.
func run(ctx context.Context, opts vm.Options) (outcome, error) {
	convert := exec.CommandContext(ctx, "go", "tool", "test2json")
	in, err := convert.StdinPipe()
	if err != nil {
		return outcome{}, err
	}
	var events, errs strings.Builder
	convert.Stdout, convert.Stderr = &events, &errs
	if err := convert.Start(); err != nil {
		return outcome{}, err
	}
	opts.Output = in
	status, err := vm.Run(ctx, opts)
	in.Close()
	if converted := convert.Wait(); converted != nil && err == nil {
		err = fmt.Errorf("go tool test2json: %w: %s", converted, errs.String())
	}
	o, read := readEvents(strings.NewReader(events.String()))
	switch {
	case err != nil:
		return o, err
	case read != nil:
		return o, read
	case status != 0:
		return o, fmt.Errorf("the tests ended with status %d", status)
	}
	return o, nil
}
