package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Detach starts a command that outlives this process. It waits until the command calls Serve, or returns an error when it ends
// before. The command inherits the listener, at which requests arrive; this process lets go of it. noun is how errors call
// what is started.
func Detach(ctx context.Context, noun string, cmd *exec.Cmd, listener *net.UnixListener) error {
	file, err := listener.File()
	if err := errors.Join(err, listener.Close()); err != nil {
		return fmt.Errorf("hand the %s its listener: %w", noun, err)
	}
	defer file.Close()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "leash"), os.NewFile(uintptr(ends[1]), "leash")
	defer ours.Close()
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{file, theirs}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return fmt.Errorf("start the %s: %w", noun, err)
	}
	stop := context.AfterFunc(ctx, func() { ours.Close() })
	defer stop()
	if n, _ := ours.Read(make([]byte, 1)); n == 1 {
		return cmd.Process.Release()
	}
	return errors.Join(context.Cause(ctx), kill(noun, cmd))
}

func kill(noun string, cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the %s: %w", noun, err)
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	return fmt.Errorf("the %s ended before it was ready", noun)
}

// Descriptors that Detach gives to the command.
const (
	listenerFD = 3
	leashFD    = 4
)

// Keep keeps from the programs that a process started by Detach starts what only Serve is to have.
func Keep() {
	unix.CloseOnExec(listenerFD)
	unix.CloseOnExec(leashFD)
}

// ready tells the command that started this process with Detach that it is ready. It fails when that command is gone, and
// then nobody wants this one.
func ready() error {
	leash := os.NewFile(leashFD, "leash")
	defer leash.Close()
	if _, err := leash.Write([]byte{1}); err != nil {
		return fmt.Errorf("tell the command that started this one that it is ready: %w", err)
	}
	return nil
}

// quiet lets go of the terminal of the command that started this process.
func quiet() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("close descriptor %d: %w", fd, err)
		}
	}
	return nil
}
