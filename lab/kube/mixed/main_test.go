// Package mixed is about clusters in which some nodes have flanneld and others have weftd, with the real flanneld and a real
// API server. It knows how a node changes from one to the other and back, and refuses to know kubelets: its nodes and
// pods are network namespaces.
package mixed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// TestMain has everything built where there is a network, and then runs the tests where there is none but loopback.
func TestMain(m *testing.M) {
	_, err := findBinaries(context.Background())
	if err == nil {
		err = build("", false)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	kerneltest.Main(m)
}

// binaries are folders.
type binaries struct{ kubernetes, flannel, weft string }

// findBinaries has what is not Weft's built, once for all runs.
func findBinaries(ctx context.Context) (b binaries, err error) {
	if b.kubernetes, err = kube.Binaries(ctx, "../kubebin"); err != nil {
		return b, err
	}
	b.flannel, err = kube.Flannel(ctx, "../flannel")
	return b, err
}

// build builds weftd, Weft's plugin and those that it delegates to. Without keep it only sees to it that all of their
// sources are on this machine.
func build(dir string, keep bool) error {
	const weft, plugins = "github.com/weft-network/weft/cmd/", "github.com/containernetworking/plugins/plugins/"
	args := []string{"build", "-buildvcs=false", "-tags", "grpcnotrace"}
	if keep {
		args = append(args, "-o", dir+"/")
	}
	c := exec.Command("go", append(args, weft+"weftd", weft+"weft", plugins+"main/bridge", plugins+"ipam/host-local")...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// makeBinaries returns all binaries; Weft's are gone with the test, and flannel's plugin lies beside them.
func makeBinaries(t *testing.T) binaries {
	t.Helper()
	b, err := findBinaries(t.Context())
	must(t, err)
	b.weft = t.TempDir()
	must(t, build(b.weft, true))
	must(t, os.Symlink(filepath.Join(b.flannel, "flannel"), filepath.Join(b.weft, "flannel")))
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
