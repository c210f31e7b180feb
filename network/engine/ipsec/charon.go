package ipsec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	govici "github.com/strongswan/govici/vici"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// errAbsent says that charon does not run.
var errAbsent = errors.New("charon does not run")

// charon is the daemon that works for one engine.
type charon struct {
	dir string

	mu      sync.Mutex
	process *os.Process   // that this agent has started last; nil for one that was found
	started chan struct{} // has an element after a start
}

func newCharon(dir string) *charon { return &charon{dir: dir, started: make(chan struct{}, 1)} }

func (c *charon) socket() string  { return filepath.Join(c.dir, "charon.vici") }
func (c *charon) logFile() string { return filepath.Join(c.dir, "charon.log") }

// speak begins a conversation. The error is errAbsent when nobody answers.
func (c *charon) speak() (vici, error) {
	s, err := govici.NewSession(govici.WithSocketPath(c.socket()), govici.WithDialContext(dial))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return vici{}, errAbsent
	} else if err != nil {
		return vici{}, fmt.Errorf("speak with charon: %w", err)
	}
	return vici{s}, nil
}

// dial connects to charon.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return hasty{c}, err
}

// hasty is a connection on which what is asked for has to be answered in time.
type hasty struct{ net.Conn }

// Write implements net.Conn.
func (c hasty) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// told begins a conversation, and asks what charon was told of. The caller closes the conversation where there is no error. The error is
// errAbsent also of a charon that goes away meanwhile.
func (c *charon) told() (vici, []connection, error) {
	v, err := c.speak()
	if err != nil {
		return vici{}, nil, err
	}
	all, err := v.connections()
	if err != nil {
		v.Close()
		return vici{}, nil, err
	}
	return v, all, nil
}

// start starts charon where it does not run, in the network namespace of the calling thread, and waits until it answers. One that is
// going away is waited for.
func (c *charon) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, _, err := c.told(); err == nil {
		return v.Close()
	} else if !errors.Is(err, errAbsent) {
		return err
	}
	bury(c.process)
	c.process = nil
	if err := c.end(ctx); err != nil {
		return err
	}
	path, err := find(places[:])
	if err != nil {
		return err
	}
	p, err := c.launch(path)
	if err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	if err := c.await(ctx, p); err != nil {
		bury(p)
		return fmt.Errorf("start %s: %w%s", path, err, c.lastWords())
	}
	c.process = p
	select {
	case c.started <- struct{}{}:
	default:
	}
	return nil
}

// answers tells whether charon runs.
func (c *charon) answers() bool {
	conn, err := net.Dial("unix", c.socket())
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// launch starts the program, in a session of its own.
func (c *charon) launch(path string) (*os.Process, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(c.dir, "strongswan.conf")
	if _, err := subnet.WriteFile(config, []byte(c.config()), 0o600); err != nil {
		return nil, err
	}
	if err := os.Remove(c.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(path)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "STRONGSWAN_CONF=" + config}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd.Process, nil
}

// patience is how long charon may take to start, to answer, or to end.
const patience = time.Minute

// await waits until charon answers, or has ended.
func (c *charon) await(ctx context.Context, p *os.Process) error {
	ended := false
	err := until(ctx, "it did not answer", func() bool {
		var status unix.WaitStatus
		pid, _ := unix.Wait4(p.Pid, &status, unix.WNOHANG, nil)
		ended = pid == p.Pid
		return ended || c.answers()
	})
	if ended {
		return errors.New("it ended at once")
	}
	return err
}

// until waits for something that a process does.
func until(ctx context.Context, what string, is func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s within %s", what, patience))
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
	return nil
}

// lastWords is the end of charon's log, for an error.
func (c *charon) lastWords() string {
	data, err := os.ReadFile(c.logFile())
	text := strings.TrimSpace(string(data))
	if err != nil || text == "" {
		return ""
	}
	if len(text) > 300 {
		text = "..." + text[len(text)-300:]
	}
	return ": " + strings.Join(strings.Fields(text), " ")
}

// stop ends charon and waits until it has: it tells the peers that their keys are void.
func (c *charon) stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.end(ctx); err != nil {
		return err
	}
	if p := c.process; p != nil {
		c.process = nil
		if _, err := p.Wait(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end charon: %w", err)
		}
	}
	return nil
}

// end ends who answers at charon's socket, and waits until nobody does.
func (c *charon) end(ctx context.Context) error {
	conn, err := net.Dial("unix", c.socket())
	if err != nil {
		return nil
	}
	pid, err := peer(conn)
	if err == nil {
		err = unix.Kill(pid, unix.SIGTERM)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) { // it has ended by itself
		conn.Close()
		return fmt.Errorf("end charon: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetReadDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, 1))
	conn.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.Join(fmt.Errorf("charon did not end within %s and is killed", patience), unix.Kill(pid, unix.SIGKILL))
	}
	return nil
}

// peer returns who listens at the other end of conn.
func peer(conn net.Conn) (int, error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var errCred error
	if err := raw.Control(func(fd uintptr) { cred, errCred = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if errCred != nil {
		return 0, errCred
	}
	if cred.Pid <= 0 {
		return 0, errors.New("its process is not in this namespace of processes")
	}
	return int(cred.Pid), nil
}

// bury takes the exit status of a process that does not answer any more. It may be nil, or buried already.
func bury(p *os.Process) {
	if p != nil {
		p.Kill() // it is ending anyway, and nobody can speak with it
		p.Wait()
	}
}

// watch calls ended whenever charon has ended, until ctx ends. It returns ctx.Err().
func (c *charon) watch(ctx context.Context, ended func()) error {
	for {
		c.mu.Lock()
		conn, err := net.Dial("unix", c.socket())
		p := c.process
		c.mu.Unlock()
		if err == nil {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			io.Copy(io.Discard, conn) // charon says nothing that it is not asked for
			stop()
			conn.Close()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.mu.Lock()
			if c.process == p && p != nil && !c.answers() {
				bury(p)
				c.process = nil
			}
			c.mu.Unlock()
			ended()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.started:
		}
	}
}
