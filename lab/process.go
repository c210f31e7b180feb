package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs on a host of the lab, with its output in a file. Every start is followed by a stop.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how it ended; to be read after done
}

// start runs path with args on h. The output is added to the file log.
func start(h *Host, name, log, path string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer out.Close()
	p := &process{name: name, log: log, done: make(chan struct{}), cmd: exec.Command(path, args...)}
	p.cmd.Env = environment()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := h.Start(p.cmd); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// running tells whether the process has not ended yet.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends s; to a process that has ended it is nothing.
func (p *process) signal(s syscall.Signal) error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", s, p.name, err)
	}
	return nil
}

// pause stops the process where it is and waits until all of its threads have noticed; resume lets it go on.
func (p *process) pause(ctx context.Context) error {
	if err := p.signal(syscall.SIGSTOP); err != nil || !p.running() {
		return err
	}
	return await(ctx, p.name+" to stop", func() error {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil {
			return fmt.Errorf("list the threads of %s: %w", p.name, err)
		}
		for _, path := range stats {
			text, err := os.ReadFile(path)
			// The state is the letter behind the name, which is in parentheses and may hold anything.
			if _, state, ok := strings.Cut(string(text), ") "); err == nil && (!ok || state[0] != 'T') {
				return fmt.Errorf("a thread runs in state %.1s", state)
			}
		}
		return nil
	})
}

func (p *process) resume() error { return p.signal(syscall.SIGCONT) }

// stop sends s and waits until the process has ended. A stopped or absent process is stopped already.
func (p *process) stop(s syscall.Signal) error {
	if p == nil {
		return nil
	}
	if err := p.signal(s); err != nil {
		return err
	}
	<-p.done
	return nil
}

// failure says that the process ended when it should not have, with its last words; nil while it runs.
func (p *process) failure() error {
	if p.running() {
		return nil
	}
	return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, lastLines(p.log, 10))
}

// lastLines returns the end of a log file.
func lastLines(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// errGivenUp says that what is awaited cannot come any more.
var errGivenUp = errors.New("given up")

// await calls f, at first every millisecond and then more and more seldom, until it returns nil. When ctx ends first, or
// f returns errGivenUp, the error says what was awaited and what f said last.
func await(ctx context.Context, what string, f func() error) error {
	const longest = 50 * time.Millisecond
	for pause := time.Millisecond; ; pause = min(pause*5/4, longest) {
		err := f()
		if err == nil {
			return nil
		}
		if errors.Is(err, errGivenUp) {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", what, context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// logFile is where the output of the named process goes.
func (l *Lab) logFile(name string) string { return filepath.Join(l.dir, name+".log") }
