package lab

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// user is a terminal: the end of its person, and that of programs.
type user struct{ master, slave *os.File }

func newUser(t *testing.T) user {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { master.Close() })
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	slave := os.NewFile(fd, "slave")
	return user{master, slave}
}

// TestTerminal types to a command inside a lab, and interrupts it with Ctrl-C.
func TestTerminal(t *testing.T) {
	t.Parallel()
	if out, code := weftctl(t, "", "lab", "up", "--nodes=1", "--pods=0", "--name=terminal"); code != 0 {
		t.Fatalf("up: %d\n%s", code, out)
	}
	t.Cleanup(func() { must(t, exec.Command(binDir+"/weftctl", "lab", "down", "--name=terminal").Run()) })
	user := newUser(t) // the test sits where the person does
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
