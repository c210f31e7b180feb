package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Serve tells the command that started this process with Detach that it is ready, and then answers requests until one of
// them is Down or ctx ends.
func Serve(ctx context.Context, h Handler) error {
	file := os.NewFile(listenerFD, "listener")
	listener, err := net.FileListener(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("take the listener: %w", err)
	}
	if err := errors.Join(ready(), quiet()); err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return serve(ctx, listener.(*net.UnixListener), func(ctx context.Context, r Request, files [3]*os.File) Response {
		if r.Verb == Down {
			cancel()
			return Response{}
		}
		return h(ctx, r, files)
	})
}

// Handler does what a request asks for. Its context ends when the one who asked is gone.
type Handler func(ctx context.Context, r Request, files [3]*os.File) Response

// serve answers requests until ctx ends or the listener is closed.
func serve(ctx context.Context, l *net.UnixListener, h Handler) error {
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
func answer(ctx context.Context, conn *net.UnixConn, h Handler) error {
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
		return errors.New("this belongs to another user")
	}
	return nil
}
