package lab

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/lab/control"
)

// Background is what a lab is that runs in the background.
func Background() control.Kind {
	return control.Kind{Socket: "weft-lab", Noun: "lab", Command: "weftctl lab"}
}

// RunInside runs this executable with args as the first process of a lab, with this process's input and outputs, until
// it ends. Whatever ends this process ends the lab. The error is an *exec.ExitError where the process
// ended with a status of its own.
func RunInside(ctx context.Context, bins Binaries, args ...string) error {
	return onThread(func() error {
		cmd := Inside(ctx, bins, false, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		// A signal from the terminal reaches the lab as well; other ends of ctx are passed on as one.
		cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start the lab: %w", NamespaceError(err))
		}
		return cmd.Wait()
	})
}

// Detach runs this executable with args as the first process of a lab that outlives this process. It waits until the lab
// serves, or returns an error when the lab ends before. Requests to the lab arrive at the listener, which becomes the lab's.
func Detach(ctx context.Context, bins Binaries, listener *net.UnixListener, args ...string) error {
	return NamespaceError(control.Detach(ctx, Background().Noun, Inside(ctx, bins, true, args...), listener))
}
