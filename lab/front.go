package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

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
// calls Ready, or returns an error when the lab ends before. Requests to the lab arrive at the listener, which the
// lab inherits.
func Detach(ctx context.Context, bins Binaries, listener *os.File, args ...string) error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "leash"), os.NewFile(uintptr(ends[1]), "leash")
	defer ours.Close()
	cmd := Inside(ctx, bins, true, args...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{listener, theirs}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return fmt.Errorf("start the lab: %w", NamespaceError(err))
	}
	stop := context.AfterFunc(ctx, func() { ours.Close() })
	defer stop()
	if n, _ := ours.Read(make([]byte, 1)); n == 1 {
		return cmd.Process.Release()
	}
	return errors.Join(context.Cause(ctx), kill(cmd))
}

func kill(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the lab: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	return errors.New("the lab ended before it was ready")
}

// Descriptors that Detach gives to the lab.
const (
	listenerFD = 3
	leashFD    = 4
)

// Ready tells the command that started this process with Detach that the lab is ready. It fails when that command is gone,
// and then nobody wants the lab.
func Ready() error {
	leash := os.NewFile(leashFD, "leash")
	defer leash.Close()
	if _, err := leash.Write([]byte{1}); err != nil {
		return fmt.Errorf("tell the command that started the lab that it is ready: %w", err)
	}
	return nil
}
