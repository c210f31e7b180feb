// Package e2e tests Weft on real Kubernetes clusters.
package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/lab/kube"
)

// partsEnv tells the tests inside the namespaces what was prepared outside.
const partsEnv = "WEFT_E2E_PARTS"

// TestMain builds what a cluster is made of where there is a network, and then runs the tests in namespaces.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 5 && os.Args[1] == "lab" && os.Args[2] == "kube" && os.Args[3] == kube.MachineCommand:
		os.Exit(status(kube.RunMachine(os.Args[4])))
	case kube.IsInside():
		if err := kube.Settle(); err != nil {
			os.Exit(status(err))
		}
		os.Exit(m.Run())
	}
	os.Exit(status(outside()))
}

// status is the exit status for an error, which it prints unless the tests did.
func status(err error) int {
	if err == nil {
		return 0
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "end-to-end tests:", err)
	return 2
}

// outside prepares, and runs this binary again inside.
func outside() (err error) {
	top, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	out, remove, err := kube.Workspace()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	bin := filepath.Join(out, "bin")
	if err := build(top, bin); err != nil {
		return err
	}
	parts, err := kube.Prepare(context.Background(), top, bin, out, func(what string) { fmt.Println(what) })
	if err != nil {
		return err
	}
	if _, err := parts.MakeFlannel(context.Background(), top, out); err != nil {
		return err
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return err
	}
	if err := os.Setenv(partsEnv, string(text)); err != nil {
		return err
	}
	restore, err := kube.RaiseLimits(filepath.Join(os.TempDir(), "weft-limits"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	var g errgroup.Group
	g.SetLimit(together)
	for _, args := range processes(os.Args[1:]) {
		g.Go(func() error { return inside(args) })
	}
	return g.Wait()
}

// together is how many clusters there are at a time. Two keep two processors busy; with more, pods and kubelets have to wait for so long
// that probes fail.
const together = 2

// shares are tests that run in a process of their own, those that take the longest first. All others run in a last one.
func shares() []string {
	return []string{"TestBoots", "TestUpdate", "TestMoveFromFlannel", "TestFailures", "TestManyPods", "TestModel"}
}

// processes are the arguments of processes that run all tests between them: of one where the tests were chosen, else of
// several, each with clusters of its own.
func processes(args []string) [][]string {
	var kept []string
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch name {
		case "test.run", "test.skip", "test.list":
			return [][]string{args}
		case "test.testlogfile": // for the cache of results, which several processes cannot keep
		default:
			kept = append(kept, arg)
		}
	}
	var all [][]string
	for _, test := range shares() {
		all = append(all, append(slices.Clone(kept), "-test.run=^"+test+"$"))
	}
	return append(all, append(kept, "-test.skip=^("+strings.Join(shares(), "|")+")$"))
}

// inside runs this binary with args inside, and returns when it has ended.
func inside(args []string) error {
	runtime.LockOSThread() // what it starts is killed when this thread ends
	defer runtime.UnlockOSThread()
	cmd := kube.Inside(false, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// build builds what make build builds.
func build(top, bin string) error {
	const weft, plugins = "github.com/weft-network/weft/cmd/", "github.com/containernetworking/plugins/plugins/"
	for dir, packages := range map[string][]string{
		bin: {weft + "weftd", weft + "weftctl"},
		filepath.Join(bin, "cni"): {weft + "weft", plugins + "main/bridge", plugins + "main/loopback", plugins + "ipam/host-local",
			plugins + "meta/portmap", plugins + "meta/bandwidth"},
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w -X main.version=e2e", "-o", dir + "/"}, packages...)...)
		cmd.Dir = top
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %v: %w\n%s", packages, err, text)
		}
	}
	return nil
}

// parts is what was prepared.
func parts(t *testing.T) kube.Parts {
	t.Helper()
	var p kube.Parts
	if err := json.Unmarshal([]byte(os.Getenv(partsEnv)), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// up starts a cluster that ends with the test. What the agents and kubelets said last is shown where the test fails.
func up(t *testing.T, o kube.Setup) *kube.Cluster {
	t.Helper()
	o.Parts = parts(t)
	o.Progress = func(what string) { t.Log(what) }
	c, err := kube.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.LastWords())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// root is the top of the clone.
const root = "../../.."

// installed starts a cluster with Weft, installed from the manifest with the cluster's families.
func installed(t *testing.T, o kube.Setup) *kube.Cluster {
	t.Helper()
	c := up(t, o)
	manifest, err := c.Manifest(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	return c
}
