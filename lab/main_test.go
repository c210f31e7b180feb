package lab

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// Where there is no Go, as in a virtual machine, the tests are run with binaries that were built elsewhere: with buildEnv
// the test binary builds them into the folder of that name, which is all it does, and with builtEnv it uses them.
const (
	buildEnv = "WEFT_LAB_BUILD"
	builtEnv = "WEFT_LAB_BUILT"
)

// TestMain builds what the lab runs, and then runs the tests inside the lab's namespaces.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(buildEnv) != "":
		os.Exit(status(buildBinaries(binariesIn(os.Getenv(buildEnv)))))
	case IsInside():
		if err := errors.Join(Settle(), keepBinaries(), kerneltest.LeaveToGuests(), runTogether()); err != nil {
			os.Exit(status(err))
		}
		os.Exit(m.Run())
	}
	os.Exit(status(runTestsInside()))
}

// runTogether lets more labs be there at a time than there are processors, because what they do is to wait, most of the time. A
// virtual machine is too slow for that, and whoever says another number gets it.
func runTogether() error {
	const labs = "5"
	given := kerneltest.InGuest()
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", labs)
}

// keepBinaries takes the binaries into the lab's own memory and removes them from the host, so that nothing is left
// there however the tests end.
func keepBinaries() error {
	bins, err := parseBinaries(os.Getenv(insideEnv))
	if err != nil {
		return err
	}
	for _, dir := range []string{binDir, upgradeDir, cniBinDir} {
		err := errors.Join(os.CopyFS(dir+".own", os.DirFS(dir)), unix.Unmount(dir, 0), os.Remove(dir), os.Rename(dir+".own", dir))
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Dir(bins.Dir))
}

// status is the exit status for an error, which it prints unless the tests did.
func status(err error) int {
	if err == nil {
		return 0
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "lab tests:", err)
	return 2
}

// prefer gives all that this process starts a niceness below the usual, where it may: packets are counted, and processes that
// move them lose some while others have the processor. To Linux, niceness is a thread's, and inherited from whichever starts another.
func prefer() error {
	const niceness = -10
	threads, err := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		_ = unix.Setpriority(unix.PRIO_PROCESS, id, niceness)
	}
	return err
}

func runTestsInside() (err error) {
	dir, err := os.MkdirTemp("", "weft-lab-test")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bins := binariesIn(dir)
	if built := os.Getenv(builtEnv); built != "" {
		bins = binariesIn(built)
	} else if err := buildBinaries(bins); err != nil {
		return err
	}
	if err := prefer(); err != nil {
		return err
	}
	return RunInside(context.Background(), bins, os.Args[1:]...)
}

// binariesIn are the places of the lab's binaries below the folder dir.
func binariesIn(dir string) Binaries {
	return Binaries{Dir: filepath.Join(dir, "bin"), CNI: filepath.Join(dir, "bin", "cni"), Upgrade: filepath.Join(dir, "upgrade")}
}

// buildBinaries builds what make build builds, and weftd once more as another version.
func buildBinaries(b Binaries) error {
	const weft, plugins = "github.com/weft-network/weft/cmd/", "github.com/containernetworking/plugins/plugins/"
	for _, build := range []struct {
		dir, version string
		packages     []string
	}{
		{b.Dir, "test", []string{weft + "weftd", weft + "weftctl"}},
		{b.Upgrade, "upgrade", []string{weft + "weftd"}},
		{b.CNI, "test", []string{weft + "weft", plugins + "main/bridge", plugins + "main/loopback", plugins + "ipam/host-local", plugins + "meta/portmap"}},
	} {
		if err := os.Mkdir(build.dir, 0o755); err != nil {
			return err
		}
		args := append([]string{"build", "-ldflags", "-s -w -X main.version=" + build.version, "-o", build.dir + "/"}, build.packages...)
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %v: %v\n%s", build.packages, err, out)
		}
	}
	return nil
}
