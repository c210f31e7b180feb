// Package child keeps a process that outlives the one that started it: it moves packets while the agent is away, and
// the next agent finds it by a unix socket. It knows how such a process is started, found, spoken with and watched, and refuses to
// know what it does.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrAbsent says that there is no such process.
var ErrAbsent = errors.New("the process is not there")

// patience is how long an answer may take.
const patience = 30 * time.Second

// Child is a process as the agent sees it. Make it with New. Its methods may be called at the same time.
type Child struct {
	path    string // of the socket
	command []string

	mu      sync.Mutex
	process *os.Process   // that this agent started last; nil for one that was found
	started chan struct{} // has an element after a start
}

// New returns the child that answers at path, and is started by command, of which the first word is the program. Its socket, listening
// already, is its file descriptor 3.
func New(path string, command []string) *Child {
	return &Child{path: path, command: command, started: make(chan struct{}, 1)}
}

// Call sends a request, and reads the answer into response. The error is ErrAbsent when nobody answers.
func (c *Child) Call(ctx context.Context, request, response any) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	text, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("write a request to %s: %w", c.path, err)
	}
	if _, err := conn.Write(append(text, '\n')); err != nil {
		return c.absent(ctx, err)
	}
	if err := json.NewDecoder(conn).Decode(response); err != nil {
		return c.absent(ctx, err)
	}
	return nil
}

// absent says what it means that a conversation broke off.
func (c *Child) absent(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("wait for an answer at %s: %w", c.path, ctx.Err())
	}
	return fmt.Errorf("%w: %s: %w", ErrAbsent, c.path, err)
}

func (c *Child) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, c.absent(ctx, err)
	}
	return conn, nil
}

// Start starts the process where none answers. It runs in the network namespace of the calling thread and in a session of its own, and can be
// called when Start has returned.
func (c *Child) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn, err := c.dial(ctx); err == nil {
		return conn.Close()
	}
	before := c.process
	p, err := c.start()
	if err != nil {
		return fmt.Errorf("start the process of %s: %w", c.path, err)
	}
	c.process = p
	bury(before)
	select {
	case c.started <- struct{}{}:
	default:
	}
	return nil
}

func (c *Child) start() (*os.Process, error) {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(c.path, 0o600); err != nil {
		return nil, err
	}
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(c.command[0], c.command[1:]...)
	cmd.Args[0] = os.Args[0] // what ps shows
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.ExtraFiles = []*os.File{file}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := preferred(cmd.Start); err != nil {
		return nil, err
	}
	return cmd.Process, nil
}

// niceness is that of the process, where the agent may give it one: like the kernel, which moves packets otherwise, it comes before the
// programs whose packets it moves.
const niceness = -15

// preferred calls start, so that the process that it starts has that niceness: a process has it from the thread that starts it.
func preferred(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
	}
	if err == nil {
		defer unix.Setpriority(unix.PRIO_PROCESS, 0, 20-before) // the system call tells 20 minus the niceness
	}
	return start()
}

// bury takes the exit status of a process that does not answer any more. It may be nil, or buried already.
func bury(p *os.Process) {
	if p != nil {
		p.Kill() // it is ending anyway, and nobody can speak with it
		p.Wait()
	}
}

// Watch calls changed whenever the process says that what it keeps has changed by itself, and when it has ended, until ctx ends. It
// returns ctx.Err(). No process is not an error: Watch waits for one to be started.
func (c *Child) Watch(ctx context.Context, changed func()) error {
	for {
		c.mu.Lock()
		conn, err := c.dial(ctx)
		p := c.process // nil for one that was found
		c.mu.Unlock()
		if err == nil {
			c.listen(ctx, conn, changed)
			if ctx.Err() == nil {
				bury(p)
				changed()
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.started:
		}
	}
}

// listen returns when the process has ended, or ctx.
func (c *Child) listen(ctx context.Context, conn net.Conn, changed func()) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte(watchLine)); err != nil {
		return
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		changed()
	}
}

// watchLine is the request of who wants to be told of changes.
const watchLine = "\"watch\"\n"

// Inherited is the socket that Start gave to this process.
func Inherited() (net.Listener, error) {
	unix.CloseOnExec(3)
	file := os.NewFile(3, "socket")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("file descriptor 3 is not the socket that weftd gives to its children: %w", err)
	}
	return l, nil
}
