package lab

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestTerminal types to a command inside a lab, and interrupts it with Ctrl-C.
func TestTerminal(t *testing.T) {
	t.Parallel()
	if out, code := weftctl(t, "", "lab", "up", "--nodes=1", "--pods=0", "--name=terminal"); code != 0 {
		t.Fatalf("up: %d\n%s", code, out)
	}
	t.Cleanup(func() { must(t, exec.Command(binDir+"/weftctl", "lab", "down", "--name=terminal").Run()) })
	var user terminal // the test sits where the person does
	must(t, user.open())
	t.Cleanup(func() { user.master.Close() })
	must(t, unix.IoctlSetWinsize(int(user.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 77}))
	before, err := unix.IoctlGetTermios(int(user.slave.Fd()), unix.TCGETS)
	must(t, err)

	// A builtin waits for the key: a program that is just being started can miss it, and the shell then waits for its end.
	ctx := within(t, patience)
	cmd := exec.CommandContext(ctx, binDir+"/weftctl", "lab", "exec", "--name=terminal", "node1", "--",
		"sh", "-c", "trap 'echo interrupted; exit 3' INT; stty size; read word; echo got $word; read more")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = user.slave, user.slave, user.slave
	must(t, cmd.Start())
	context.AfterFunc(ctx, func() { user.slave.Close() }) // what is never printed is not waited for forever
	lines := bufio.NewScanner(user.master)
	say := func(text string) {
		if _, err := user.master.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("%q is not printed: %v", want, lines.Err())
	}
	hear("33 77")
	say("hello\r")
	hear("got hello")
	say("\x03")
	hear("interrupted")
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit status %d, want 3", code)
	}
	after, err := unix.IoctlGetTermios(int(user.slave.Fd()), unix.TCGETS)
	must(t, err)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the terminal is set otherwise afterwards (-before +after):\n%s", diff)
	}
}
