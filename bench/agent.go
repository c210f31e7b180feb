package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// agent is a running program that is measured.
type agent struct {
	*exec.Cmd
	began time.Time
}

// start starts a program of the bench's folder.
func start(dir, log, name string, args ...string) (*agent, error) {
	out, err := os.Create(filepath.Join(dir, log))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	a := &agent{Cmd: exec.Command(filepath.Join(dir, name), args...)}
	a.Stdout, a.Stderr = out, out
	a.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	a.began = time.Now()
	if err := a.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return a, nil
}

// startWeftd starts weftd as on a node that it has never been on. The flags in store say where its peers are.
func startWeftd(dir string, store []string) (*agent, error) {
	state := filepath.Join(dir, "state")
	if err := errors.Join(os.RemoveAll(state), os.MkdirAll(state, 0o755)); err != nil {
		return nil, err
	}
	return start(dir, "weftd.log", "weftd", append(slices.Clone(store), "--node-name", nodeName, "--ip-masq",
		"--subnet-file", filepath.Join(state, "subnet.env"), "--state-dir", filepath.Join(state, "weft"),
		"--socket", filepath.Join(state, "weftd.sock"))...)
}

// kill ends the program as a crash would.
func (a *agent) kill() error {
	if err := a.Process.Kill(); err != nil {
		return err
	}
	_ = a.Wait() // says that it was killed
	return nil
}

// cpu is the processor time that the program and the kernel on its behalf have used up to now.
func (a *agent) cpu() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: what the scheduler counted, to the nanosecond
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^a.Process.Pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", a.Process.Pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// memory is what a program has in memory, in MiB.
type memory struct {
	now, most float64
	program   float64 // of now: pages of its own file, which the kernel can take back at any time
}

// memory looks.
func (a *agent) memory() (m memory, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			m.now = kib / 1024
		case "VmHWM:":
			m.most = kib / 1024
		case "RssFile:":
			m.program = kib / 1024
		}
	}
	return m, nil
}
