package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Request is what a command asks a lab for. The lab answers by writing to the command's own outputs.
type Request struct {
	Verb string   // "status", "ping", "break", "etcd", "restart", "exec" or "down"
	Args []string // of the verb
	Node string   // where, for "break"

	Terminal bool // for "exec": the input is a terminal, and the command's alone
}

// Response is how a request ended.
type Response struct {
	Code  int    // exit status
	Error string // what could not be done; "" if all was
}

// address is the abstract socket of a lab: it is no file, so it ends with the lab. A user sees the own labs only.
func address(name string) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@weft-lab/%d/%s", os.Getuid(), name)}
}

// Listen takes the name for a lab.
func Listen(name string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", address(name))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("a lab called %q runs already: end it with `weftctl lab down --name %s`, or choose another --name", name, name)
	}
	if err != nil {
		return nil, fmt.Errorf("take the name %q for a lab: %w", name, err)
	}
	return l, nil
}

// Running are the names of this user's labs.
func Running() ([]string, error) {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, fmt.Errorf("look for labs: %w", err)
	}
	return names(string(text), os.Getuid()), nil
}

// names picks the names of labs out of the kernel's list of sockets.
func names(sockets string, uid int) []string {
	var found []string
	for line := range strings.Lines(sockets) {
		_, name, ok := strings.Cut(strings.TrimSpace(line), fmt.Sprintf("@weft-lab/%d/", uid))
		if ok {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Ask sends a request to the lab of that name, together with this process's input and outputs, and waits for the end.
// When ctx ends first, so does what the lab does for the request.
func Ask(ctx context.Context, name string, r Request, files [3]*os.File) (resp Response, err error) {
	conn, err := net.DialUnix("unix", nil, address(name))
	if err != nil {
		running, _ := Running() // only to help
		return resp, fmt.Errorf("no lab called %q runs (running: %s): start one with `weftctl lab up`", name, strings.Join(running, " "))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if r.Verb == "exec" && isTerminal(files[0]) && isTerminal(files[1]) {
		t, err := newTerminal(files[0])
		if err != nil {
			return resp, err
		}
		defer func() { err = errors.Join(err, t.shut()) }()
		r.Terminal = true
		if err := errors.Join(send(conn, r, [3]*os.File{t.slave, t.slave, t.slave}), t.handOver(files[1])); err != nil {
			return resp, err
		}
	} else if err := send(conn, r, files); err != nil {
		return resp, err
	}
	if err := json.NewDecoder(conn).Decode(&resp); err != nil {
		return resp, errors.Join(fmt.Errorf("the lab ended: %w", err), context.Cause(ctx))
	}
	if r.Verb == "down" {
		return resp, gone(ctx, name)
	}
	return resp, nil
}

// send writes the request, with the files beside it.
func send(conn *net.UnixConn, r Request, files [3]*os.File) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	rights := unix.UnixRights(int(files[0].Fd()), int(files[1].Fd()), int(files[2].Fd()))
	if _, _, err := conn.WriteMsgUnix(append(text, '\n'), rights, nil); err != nil {
		return fmt.Errorf("send the request to the lab: %w", err)
	}
	return nil
}

// gone waits until the lab of that name has ended.
func gone(ctx context.Context, name string) error {
	return await(ctx, "the end of the lab", func() error {
		running, err := Running()
		if err == nil && slices.Contains(running, name) {
			return errors.New("it still runs")
		}
		return err
	})
}

// handler does what a request asks for. Its context ends when the one who asked is gone.
type handler func(ctx context.Context, r Request, files [3]*os.File) Response

// serve answers requests until ctx ends or the listener is closed.
func serve(ctx context.Context, l *net.UnixListener, h handler) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var g errgroup.Group
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return g.Wait()
		}
		g.Go(func() error {
			defer conn.Close()
			_ = answer(ctx, conn, h) // who asked is gone
			return nil
		})
	}
}

// answer reads one request and does it.
func answer(ctx context.Context, conn *net.UnixConn, h handler) error {
	r, files, err := receive(conn)
	for _, f := range files {
		if f != nil {
			defer f.Close()
		}
	}
	if err != nil {
		return json.NewEncoder(conn).Encode(Response{Code: 2, Error: err.Error()})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		defer cancel()
		_, _ = conn.Read(make([]byte, 1)) // returns when the other side is gone, or CloseRead is called
		return nil
	})
	resp := h(ctx, r, files)
	err = json.NewEncoder(conn).Encode(resp)
	return errors.Join(err, conn.CloseRead(), g.Wait())
}

// receive reads a request with its three files. Only the user who started the lab may send one.
func receive(conn *net.UnixConn) (Request, [3]*os.File, error) {
	var r Request
	var files [3]*os.File
	if err := sameUser(conn); err != nil {
		return r, files, err
	}
	buf, oob := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(3*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return r, files, fmt.Errorf("read the request: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return r, files, fmt.Errorf("read the request: it comes with %d control messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return r, files, fmt.Errorf("read the request's files: %w", err)
	}
	for i, fd := range fds[:min(3, len(fds))] {
		unix.CloseOnExec(fd)
		files[i] = os.NewFile(uintptr(fd), [...]string{"stdin", "stdout", "stderr"}[i])
	}
	if len(fds) != 3 {
		return r, files, fmt.Errorf("read the request: it comes with %d files in place of 3", len(fds))
	}
	if err := json.Unmarshal(buf[:n], &r); err != nil {
		return r, files, fmt.Errorf("read the request: %w", err)
	}
	return r, files, nil
}

// sameUser refuses other users: an abstract socket has no permissions. Inside, the user who started the lab is root.
func sameUser(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("ask who sends a request: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, credErr); err != nil {
		return fmt.Errorf("ask who sends a request: %w", err)
	}
	if int(cred.Uid) != os.Getuid() {
		return errors.New("this lab belongs to another user")
	}
	return nil
}
