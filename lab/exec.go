package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/weft-network/weft/lab/control"
)

// exec runs a command inside a host, with the caller's own input and outputs.
func (l *Lab) exec(ctx context.Context, r control.Request, files [3]*os.File) control.Response {
	args := r.Args
	if len(args) > 1 && args[1] == "--" {
		args = slices.Delete(slices.Clone(args), 1, 2)
	}
	if len(args) < 2 {
		return control.Response{Code: 2, Error: "exec needs a host and a command"}
	}
	h, err := l.Host(args[0])
	if err != nil {
		return control.Response{Code: 2, Error: err.Error()}
	}
	path, err := lookPath(args[1])
	if err != nil {
		fmt.Fprintln(files[2], err)
		return control.Response{Code: 127}
	}
	cmd := exec.CommandContext(ctx, path, args[2:]...)
	cmd.Args[0] = args[1]
	cmd.Env = append(environment(), "PS1="+h.Name+"# ")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	if r.Terminal {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	if err := h.Start(cmd); err != nil {
		fmt.Fprintln(files[2], err)
		return control.Response{Code: 126}
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return control.Response{Code: max(exit.ExitCode(), 1)}
	}
	if err != nil {
		return control.Response{Code: 2, Error: err.Error()}
	}
	return control.Response{}
}

// lookPath finds a program as the environment of processes inside the lab does.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, e := range environment() {
		path, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range strings.Split(path, ":") {
			if info, err := os.Stat(dir + "/" + name); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return dir + "/" + name, nil
			}
		}
	}
	return "", fmt.Errorf("no program %q in the lab's path", name)
}
