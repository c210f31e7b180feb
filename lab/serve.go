package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/weft-network/weft/lab/control"
)

// repairTime is how long a repair may take before it counts as failed.
const repairTime = 30 * time.Second

// Serve tells the command that started this process with Detach that the lab is ready, and then answers requests
// until one of them is "down" or ctx ends.
func (l *Lab) Serve(ctx context.Context) error { return control.Serve(ctx, l.handle) }

// handle does one request.
func (l *Lab) handle(ctx context.Context, r control.Request, files [3]*os.File) control.Response {
	out := files[1]
	if r.Verb == "exec" {
		return l.exec(ctx, r, files)
	}
	var err error
	switch r.Verb {
	case "status":
		err = l.PrintStatus(ctx, out)
	case "ping":
		err = l.printMatrix(ctx, out)
	case "break":
		err = l.printBreak(ctx, out, r)
	case "etcd":
		err = l.etcdVerb(ctx, out, strings.Join(r.Args, " "))
	case "restart":
		err = l.restart(ctx, out, strings.Join(r.Args, " "))
	default:
		err = fmt.Errorf("the lab does not know the request %q: is it of another version than this command?", r.Verb)
	}
	if err != nil {
		return control.Response{Code: 1, Error: err.Error()}
	}
	return control.Response{}
}

// printMatrix tries all pairs and prints the table.
func (l *Lab) printMatrix(ctx context.Context, w io.Writer) error {
	m, err := l.Matrix(ctx)
	if err != nil {
		return err
	}
	return errors.Join(m.Print(w), m.Err())
}

// printBreak breaks something and prints what came back and how soon.
func (l *Lab) printBreak(ctx context.Context, w io.Writer, r control.Request) error {
	f, err := FaultNamed(strings.Join(r.Args, " "))
	if err != nil {
		return err
	}
	n := l.Nodes[0]
	if r.Node != "" {
		if n, err = l.Node(r.Node); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, repairTime)
	defer cancel()
	fmt.Fprintf(w, "%s: %s\n", n.Name, f.About)
	repair, err := n.Break(ctx, f)
	repair.Print(w, err)
	return err
}

// Print writes what was broken and what is so again.
func (r Repair) Print(w io.Writer, err error) {
	fmt.Fprint(w, r.Gone.marked("  - "), r.Wrong.marked("  + "))
	if err == nil {
		fmt.Fprintf(w, "%s everything is as it was after %s ms\n", passed, milliseconds(r.Time))
	}
}

// etcdVerb does one of the things that can happen to etcd.
func (l *Lab) etcdVerb(ctx context.Context, w io.Writer, what string) error {
	var err error
	switch what {
	case "stop":
		err = l.Etcd.Stop()
	case "start":
		err = l.Etcd.Start(ctx)
	case "compact":
		err = l.Etcd.Compact(ctx)
	case "wipe":
		err = l.Etcd.Wipe(ctx, l.opts.Config)
	case "pause":
		err = l.Etcd.Pause(ctx)
	case "resume":
		err = l.Etcd.Resume()
	case "keys":
		return l.printKeys(ctx, w)
	default:
		err = fmt.Errorf("etcd %q: choose one of stop, start, pause, resume, compact, wipe, keys", what)
	}
	if err == nil {
		_, err = fmt.Fprintf(w, "%s etcd: %s\n", passed, what)
	}
	return err
}

// restart kills weftd on a node and starts it again.
func (l *Lab) restart(ctx context.Context, w io.Writer, name string) error {
	n, err := l.Node(name)
	if err != nil {
		return err
	}
	before, err := n.Listing()
	if err != nil {
		return err
	}
	if err := n.Kill(); err != nil {
		return err
	}
	begin := time.Now()
	if err := n.Start(); err != nil {
		return err
	}
	if err := n.Ready(ctx, l.running()-1); err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := n.Listing()
	if err != nil {
		return err
	}
	changed := append(before.Missing(after), after.Missing(before)...)
	_, err = fmt.Fprintf(w, "%s weftd on %s was killed with SIGKILL and is ready again after %s ms; objects of the kernel that changed: %d\n",
		passed, n.Name, milliseconds(took), len(changed))
	return err
}
