package extension

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/kernel"
)

const (
	mostOutput  = 64 << 10 // bytes of output that are taken of a command
	mostLogged  = 4 << 10  // of which these are logged
	mostBlamed  = 300      // and these stand in an error
	afterTheEnd = time.Second
)

// run has a shell run text with the environment and input of c, in a process group of its own, which is killed when it takes
// too long or ctx ends. It returns what was written to standard output, or the first mostOutput bytes of it. What the command is
// told never becomes a part of what the shell reads as a program.
func (e *Engine) run(ctx context.Context, c kernel.Command, text string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	var out, errs capped
	cmd := exec.CommandContext(limited, "sh", "-c", text)
	cmd.Env = append(slices.DeleteFunc(slices.Clone(e.o.Env), isOurs), strings.FieldsFunc(c.Env, isNewline)...)
	cmd.Stdin = strings.NewReader(c.Stdin + "\n")
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = afterTheEnd // what it left running in the background may keep the output open
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && limited.Err() == nil {
		err = nil
	}
	e.log(c, &out, &errs, err)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case limited.Err() != nil:
		return "", fmt.Errorf("not done within %s and killed%s", e.o.Timeout, blame(&errs, &out))
	case err != nil:
		return "", fmt.Errorf("%w%s", err, blame(&errs, &out))
	}
	return out.String(), nil
}

// log tells what a command has written.
func (e *Engine) log(c kernel.Command, out, errs *capped, err error) {
	text := strings.TrimSpace(errs.String() + out.String())
	if len(text) > mostLogged {
		text = text[:mostLogged] + "..."
	}
	log := e.o.Log.WithFields(logrus.Fields{"command": c.String(), "output": text})
	if err != nil {
		log.WithError(err).Info("a command failed")
		return
	}
	log.Info("a command was run")
}

// blame is the end of what a command that failed has written, for its error.
func blame(errs, out *capped) string {
	text := strings.TrimSpace(errs.String())
	if text == "" {
		text = strings.TrimSpace(out.String())
	}
	if text == "" {
		return ""
	}
	if len(text) > mostBlamed {
		text = "..." + text[len(text)-mostBlamed:]
	}
	return ": " + strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
}

// isOurs tells whether an environment variable is not to be inherited: the variables with which a command is told of a lease, which mean
// nothing where they are left over, and the agent's own, among which there are passwords.
func isOurs(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return strings.HasPrefix(name, "WEFTD_") || strings.HasPrefix(name, "FLANNELD_") ||
		slices.Contains([]string{"NETWORK", "SUBNET", "PUBLIC_IP", "IPV6_NETWORK", "IPV6_SUBNET", "PUBLIC_IPV6"}, name)
}

func isNewline(r rune) bool { return r == '\n' }

// capped takes the beginning of what is written to it.
type capped struct {
	taken bytes.Buffer
	cut   bool
}

// String returns what was taken.
func (b *capped) String() string { return b.taken.String() }

// Write takes all of p, or as much as there is room for, and never fails.
func (b *capped) Write(p []byte) (int, error) {
	room := mostOutput - b.taken.Len()
	if len(p) > room {
		b.cut = true
		b.taken.Write(p[:room])
		return len(p), nil
	}
	return b.taken.Write(p)
}
