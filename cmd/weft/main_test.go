package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// binDir is the environment variable that names the folder for the plugins under test.
const binDir = "WEFT_TEST_BIN"

// TestMain makes that folder, runs the tests in namespaces of their own, and takes the folder away again.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run()) // started from within the namespaces
	}
	if os.Getenv(binDir) != "" {
		kerneltest.Main(m)
	}
	dir, err := os.MkdirTemp("", "weft-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tests := exec.Command(os.Args[0], os.Args[1:]...)
	tests.Env = append(os.Environ(), binDir+"="+dir)
	tests.Stdin, tests.Stdout, tests.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = tests.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// built builds the plugin and its delegates the first time that a test needs them. It returns the folder, which is
// the CNI_PATH of the tests.
var built = sync.OnceValues(func() (string, error) {
	const plugins = "github.com/containernetworking/plugins/plugins/"
	dir := os.Getenv(binDir)
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", ".",
		plugins+"main/bridge", plugins+"main/loopback", plugins+"ipam/host-local", plugins+"meta/portmap", plugins+"meta/bandwidth")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugins: %w: %s", err, out)
	}
	return dir, os.Link(filepath.Join(dir, "weft"), filepath.Join(dir, "flannel"))
})
