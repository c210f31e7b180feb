package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/weft-network/weft/lab/control"
)

// exec runs a command inside a host, with the caller's own input and outputs.
func (l *Lab) exec(ctx context.Context, r control.Request, files [3]*os.File) control.Response {
	name, args, ok := r.Command()
	if !ok {
		return control.Response{Code: 2, Error: "exec needs a host and a command"}
	}
	h, err := l.Host(name)
	if err != nil {
		return control.Response{Code: 2, Error: err.Error()}
	}
	path, err := lookPath(args[0])
	if err != nil {
		fmt.Fprintln(files[2], err)
		return control.Response{Code: 127}
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Env = append(environment(), "PS1="+h.Name+"# ")
	return control.Attend(cmd, r, files, func() error { return h.Start(cmd) })
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
