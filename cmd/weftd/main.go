// Command weftd is the agent that runs on each node: it leases the node's subnet, and keeps the kernel as the leases
// say. It turns flags and environment into values, puts the parts together and runs network.Agent; it refuses to know
// anything else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weftd:", err)
		os.Exit(1)
	}
}

// run is the agent from its command line to its end. It returns nil when ctx ended it, or when only help or the
// version was asked for.
func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == moverCommand {
		return move(ctx, args[1:], stderr)
	}
	o, err := parse(args, env)
	switch {
	case errors.Is(err, errHelp):
		fmt.Fprint(stdout, usage())
		return nil
	case err != nil:
		return err
	case o.version:
		fmt.Fprintln(stdout, "weftd", version)
		return nil
	}
	log, err := newLog(o, stderr)
	if err != nil {
		return err
	}
	err = serve(ctx, o, log)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		log.Info("stopping; the kernel stays as it is, pods go on talking")
		return nil
	}
	return err
}
