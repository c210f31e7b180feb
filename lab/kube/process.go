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

// process is a component that runs. It dies with whoever started it.
type process struct {
	name  string
	log   string // file
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

// start starts a component with its log beside the others.
func (c *ControlPlane) start(name string, args ...string) (*process, error) {
	p := &process{name: name, log: c.file(name + ".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(filepath.Join(c.bin, name), args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Dir = c.dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	// Pdeathsig is about the thread that forks, which must not end before the process does.
	go func() {
		runtime.LockOSThread()
		defer close(p.ended)
		err := p.cmd.Start()
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

// kill ends the process and waits until it has.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// why says how the process ended, with the end of its log.
func (p *process) why() error {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("%s ended: %s\n%s", p.name, p.cmd.ProcessState, strings.Join(lines[max(0, len(lines)-8):], "\n"))
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
