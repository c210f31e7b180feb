package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/weft-network/weft/lab/control"
)

// Background is what a cluster is that runs in the background.
func Background() control.Kind {
	return control.Kind{Socket: "weft-lab-kube", Noun: "cluster", Command: "weftctl lab kube"}
}

// Serve tells the command that started this process in the background that the cluster is ready, and then answers requests
// until one of them is control.Down or ctx ends.
func (c *Cluster) Serve(ctx context.Context) error { return control.Serve(ctx, c.handle) }

// handle does one request.
func (c *Cluster) handle(ctx context.Context, r control.Request, files [3]*os.File) control.Response {
	var err error
	switch r.Verb {
	case "status":
		err = c.PrintStatus(ctx, files[1])
	case "ping":
		err = c.printMatrix(ctx, files[1])
	case "kubectl":
		cmd, err := c.KubectlCommand(ctx, r.Args...)
		if err != nil {
			return control.Response{Code: 2, Error: err.Error()}
		}
		cmd.Dir = r.Dir
		return control.Attend(cmd, r, files, cmd.Start)
	case "exec":
		return c.exec(ctx, r, files)
	default:
		err = fmt.Errorf("the cluster does not know the request %q: is it of another version than this command?", r.Verb)
	}
	if err != nil {
		return control.Response{Code: 1, Error: err.Error()}
	}
	return control.Response{}
}

// printMatrix tries all pairs and prints the table.
func (c *Cluster) printMatrix(ctx context.Context, w io.Writer) error {
	m, err := c.Matrix(ctx)
	if err != nil {
		return err
	}
	return errors.Join(m.Print(w), m.Err())
}

// exec runs a command on a node, in the network of a pod, or outside of the cluster, with the caller's own input and outputs.
func (c *Cluster) exec(ctx context.Context, r control.Request, files [3]*os.File) control.Response {
	host, args, ok := r.Command()
	if !ok {
		return control.Response{Code: 2, Error: "exec needs a node or a pod, and a command"}
	}
	cmd := exec.CommandContext(ctx, "/usr/bin/env", args...)
	cmd.Env = append((&machine{}).environment(), "PS1="+host+"# ", "TERM="+os.Getenv("TERM"))
	if host == "outside" {
		cmd.Dir = r.Dir
		return control.Attend(cmd, r, files, cmd.Start)
	}
	node, err := c.Node(host)
	if err == nil {
		return control.Attend(cmd, r, files, func() error { return node.Start(cmd) })
	}
	p := &Pod{Name: host}
	if c.Look(ctx, p) != nil {
		return control.Response{Code: 2, Error: err.Error() + ", and no such pod in the namespace default"}
	}
	if space, err := p.namespace(); err != nil {
		return control.Response{Code: 2, Error: err.Error()}
	} else if space != "" {
		cmd.Args = append([]string{cmd.Args[0], "nsenter", "--net=" + space}, args...)
	}
	return control.Attend(cmd, r, files, func() error { return p.Node.Start(cmd) })
}
