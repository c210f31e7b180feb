package control

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// Command returns where a request wants a command to run, and the command. Between the two there may be "--".
func (r Request) Command() (where string, command []string, ok bool) {
	args := r.Args
	if len(args) > 1 && args[1] == "--" {
		args = slices.Delete(slices.Clone(args), 1, 2)
	}
	if len(args) < 2 {
		return "", nil, false
	}
	return args[0], args[1:], true
}

// Attend gives cmd the files of a request, and its terminal where there is one, starts it by start, and waits for its end. The
// answer has the command's own exit status.
func Attend(cmd *exec.Cmd, r Request, files [3]*os.File, start func() error) Response {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	if r.Terminal {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	err := start()
	if err != nil {
		return Response{Code: 126, Error: err.Error()}
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return Response{Code: max(exit.ExitCode(), 1)}
	}
	if err != nil {
		return Response{Code: 2, Error: err.Error()}
	}
	return Response{}
}
