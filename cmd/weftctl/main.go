// Command weftctl is what a person runs on a node: it looks at the agent, checks a network config, takes Weft off a
// host, and plays a cluster on one machine. It knows commands, flags and words for people; everything else is in the
// packages that it calls.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// version is set by the linker.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(exitCode(err))
}

// errNo is the error of a command that could find out what it was asked, and the answer is no: not ready, not valid.
// The command has printed why.
var errNo = errors.New("no")

// exitStatus is the error of a command that ran another one, which ended with this status and has said why.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("the command ended with status %d", int(e)) }

// exitCode is 0 for yes or done, 1 for no, and 2 where it could not be found out or done.
func exitCode(err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errNo):
		return 1
	default:
		return 2
	}
}

// run executes one command line. It prints its error, if it returns one that nobody has explained yet.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) error {
	root := newRootCommand(env)
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errNo) && !errors.As(err, new(exitStatus)) {
		fmt.Fprintln(stderr, "weftctl:", err)
	}
	return err
}
