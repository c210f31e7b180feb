package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/weft-network/weft/network/engine/child"
	"github.com/weft-network/weft/network/engine/udp"
	"github.com/weft-network/weft/network/engine/wireguard"
)

// moverCommand is the first argument of the processes that weftd starts to move packets. They live on when weftd ends.
const moverCommand = "mover"

// moverOf is the command that starts the mover of a name, with the log of o. /proc/self/exe is this program even when its
// file has been replaced.
func moverOf(name string, o options) []string {
	level := o.logLevel
	if o.verbosity > 0 {
		level = "debug"
	}
	return []string{"/proc/self/exe", moverCommand, name, "--log-format=" + o.logFormat, "--log-level=" + level}
}

// move is such a process. args is what follows moverCommand.
func move(ctx context.Context, args []string, stderr io.Writer) error {
	var o options
	f := pflag.NewFlagSet(moverCommand, pflag.ContinueOnError)
	f.StringVar(&o.logFormat, "log-format", "text", "")
	f.StringVar(&o.logLevel, "log-level", "info", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fmt.Errorf("weftd %s is started by weftd itself", moverCommand)
	}
	signal.Ignore(syscall.SIGPIPE)                      // who read the log may be gone
	os.WriteFile("/proc/self/comm", []byte("weftd"), 0) // it would be that of a link of /proc; nothing depends on it
	log, err := newLog(o, stderr)
	if err != nil {
		return err
	}
	l, err := child.Inherited()
	if err != nil {
		return err
	}
	switch name := f.Arg(0); name {
	case "udp":
		return udp.Move(ctx, l, log)
	case "wireguard":
		return wireguard.Serve(ctx, l, log)
	default:
		return fmt.Errorf("there is no mover %q", name)
	}
}
