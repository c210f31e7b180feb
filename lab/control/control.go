// Package control lets commands speak with what runs in the background: it knows names, sockets, terminals and how a process
// comes to run there, and refuses to know what is asked for.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is a kind of thing that runs in the background under a name.
type Kind struct {
	Socket  string // what the names of its sockets begin with
	Noun    string // what people call it
	Command string // by which people start and end it, with "up" and "down"
}

// Request is what a command asks for. The answer goes to the command's own outputs.
type Request struct {
	Verb string   // "down" ends it
	Args []string // of the verb
	Node string   // where
	Dir  string   // the command's working directory

	Terminal bool // what is run may have the command's terminal for itself, and for who answers: it has
}

// Down is the verb that ends what runs.
const Down = "down"

// Response is how a request ended.
type Response struct {
	Code  int    // exit status
	Error string // what could not be done; "" if all was
}

// address is an abstract socket: it is no file, so it ends with who listens there. A user sees the own ones only.
func (k Kind) address(name string) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: k.prefix(os.Getuid()) + name}
}

func (k Kind) prefix(uid int) string { return fmt.Sprintf("@%s/%d/", k.Socket, uid) }

// Listen takes a name.
func (k Kind) Listen(name string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", k.address(name))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("a %s called %q runs already: end it with `%s down --name %s`, or choose another --name", k.Noun, name, k.Command, name)
	}
	if err != nil {
		return nil, fmt.Errorf("take the name %q for a %s: %w", name, k.Noun, err)
	}
	return l, nil
}

// Running are the names that this user's have.
func (k Kind) Running() ([]string, error) {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, fmt.Errorf("look for a %s: %w", k.Noun, err)
	}
	return k.names(string(text), os.Getuid()), nil
}

// names picks the names out of the kernel's list of sockets.
func (k Kind) names(sockets string, uid int) []string {
	var found []string
	for line := range strings.Lines(sockets) {
		_, name, ok := strings.Cut(strings.TrimSpace(line), k.prefix(uid))
		if ok {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Ask sends a request to what has that name, together with the input and outputs of this process, and waits for the end. When
// ctx ends first, so does what is done for the request.
func (k Kind) Ask(ctx context.Context, name string, r Request, files [3]*os.File) (resp Response, err error) {
	conn, err := net.DialUnix("unix", nil, k.address(name))
	if err != nil {
		running, _ := k.Running() // only to help
		return resp, fmt.Errorf("no %s called %q runs (running: %s): start one with `%s up`", k.Noun, name, strings.Join(running, " "), k.Command)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r.Terminal = r.Terminal && isTerminal(files[0]) && isTerminal(files[1])
	if r.Terminal {
		t, err := newTerminal(files[0])
		if err != nil {
			return resp, err
		}
		defer func() { err = errors.Join(err, t.shut()) }()
		if err := errors.Join(send(conn, r, [3]*os.File{t.slave, t.slave, t.slave}), t.handOver(files[1])); err != nil {
			return resp, err
		}
	} else if err := send(conn, r, files); err != nil {
		return resp, err
	}
	if err := json.NewDecoder(conn).Decode(&resp); err != nil {
		return resp, errors.Join(fmt.Errorf("the %s ended: %w", k.Noun, err), context.Cause(ctx))
	}
	if r.Verb == Down {
		return resp, k.gone(ctx, name)
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
		return fmt.Errorf("send the request: %w", err)
	}
	return nil
}

// gone waits until nothing has that name any more.
func (k Kind) gone(ctx context.Context, name string) error {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		running, err := k.Running()
		if err != nil || !slices.Contains(running, name) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of the %s: %w", k.Noun, context.Cause(ctx))
		case <-t.C:
		}
	}
}
