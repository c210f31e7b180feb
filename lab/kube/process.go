package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// process is a component that runs.
type process struct {
	name  string
	log   string // file
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

// startProcess starts a command with its output, where it has no place yet, at the end of a log. It dies with whoever
// starts it.
func startProcess(name, log string, cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return spawn(name, log, cmd, cmd.Start)
}

// spawn starts a command by start, on a thread that ends after the process.
func spawn(name, log string, cmd *exec.Cmd, start func() error) (*process, error) {
	p := &process{name: name, log: log, cmd: cmd, ended: make(chan struct{})}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = file
	}
	if cmd.Stderr == nil {
		cmd.Stderr = file
	}
	started := make(chan error)
	// Pdeathsig is about the thread that forks, which must not end before the process does.
	go func() {
		runtime.LockOSThread()
		defer close(p.ended)
		err := start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in ProcessState
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// roomy is in the environment of what belongs to Kubernetes: there is memory enough to collect garbage seldom, and
// processors are what tests wait for.
const roomy = "GOGC=400"

// start starts a component of the control plane with its log beside the others.
func (c *ControlPlane) start(name string, args ...string) (*process, error) {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), roomy)
	return startProcess(name, c.file(name+".log"), cmd)
}

// running tells whether the process has not ended yet.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process and waits until it has.
func (p *process) kill() { p.end(syscall.SIGKILL) }

// end sends a signal that ends the process and waits until it has.
func (p *process) end(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // it may have ended
	<-p.ended
}

// why says how the process ended, with the end of its log.
func (p *process) why() error {
	last := lastLines(p.log, 8)
	return fmt.Errorf("%s ended: %s\n%s%s", p.name, p.cmd.ProcessState, last, hint(last))
}

// hint is what a reader can do about a log that ends so.
func hint(log string) string {
	if strings.Contains(log, "inotify") && strings.Contains(log, "too many open files") {
		return "\nthis machine lets a user watch files with so many programs only, which others use: end another cluster, or\n" +
			"sysctl fs.inotify.max_user_instances=1024"
	}
	return ""
}

// lastLines returns the end of a log.
func lastLines(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// etcdPost speaks with etcd's gateway for JSON.
func (c *ControlPlane) etcdPost(ctx context.Context, path, body string, into any) error {
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+etcdAddress+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	text, err := answer(http.DefaultClient, r)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(text, into)
}
