package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// weftctl runs the real command inside the tests' namespaces, where it makes labs of its own, and returns what it
// printed and its exit status.
func weftctl(t *testing.T, stdin string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(within(t, patience), binDir+"/weftctl", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("weftctl %v: %v\n%s", args, err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestDemo(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		code  int
		want  []string // regular expressions for what is printed
	}{
		{
			"connected", []string{"--nodes=2", "--pods=1", "--families=dual", "--backend=host-gw"}, 0,
			[]string{`✓  IPv4  answers .* 6 of 6`, `✓  IPv6  full-size packets .* 2 of 2`, `route .* dev eth0 proto 87`, `/coreos.com/network/subnets/`, `weftctl lab up`},
		},
		{
			"not connected", []string{"--nodes=2", "--pods=1", "--weftd-flag=--iptables-forward-rules=false"}, 1,
			[]string{`✗  IPv4  answers .* 2 of 6`, `✗ answers, IPv4, node1a -> node2a: no answer from`},
		},
		{"not a lab", []string{"--nodes=0", "--families=ipv5"}, 2, []string{`families "ipv5": must be ipv4, ipv6 or dual`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, code := weftctl(t, "", append([]string{"lab", "demo"}, c.flags...)...)
			if code != c.code {
				t.Errorf("exit status %d, want %d\n%s", code, c.code, out)
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("nothing like %q is printed:\n%s", want, out)
				}
			}
		})
	}
}

// TestUp plays with a lab in the background, beside another one.
func TestUp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one", "two"} {
		if out, code := weftctl(t, "", "lab", "up", "--nodes=2", "--pods=1", "--name", name); code != 0 {
			t.Fatalf("up: %d\n%s", code, out)
		}
		t.Cleanup(func() { // after a failure only
			exec.Command(binDir+"/weftctl", "lab", "down", "--name", name).Run()
		})
	}
	for _, c := range []struct {
		args  string
		stdin string
		code  int
		want  string
	}{
		{"list", "", 0, `(?s)^one\n.*two\n`},
		{"up --name one", "", 2, `a lab called "one" runs already`},
		{"status --name one", "", 0, `(?s)node1 .* ready .* in step .*node2 .*etcd .* answers`},
		{"ping --name one", "", 0, `✓  IPv4  answers .* 6 of 6`},
		{"exec --name one node1 -- weftctl status", "", 0, `lease +10\.244\.`},
		{"exec --name one node2a -- cat /proc/sys/kernel/hostname", "", 0, `^node2a\n$`},
		{"exec --name one node1 -- cat", "some text", 0, `^some text$`},
		{"exec --name one node1 -- sh -c exit_7", "", 127, `exit_7`},
		{"exec --name one node1 -- false", "", 1, `^$`},
		{"exec --name one nobody -- true", "", 2, `nothing in the lab is called "nobody": there are .*node1a`},
		{"exec --name one node1 -- nonsense", "", 127, `no program "nonsense"`},
		{"break --name one --node node2 route", "", 0, `(?s)- route .* proto 87.*✓ everything is as it was`},
		{"break --name one luck", "", 2, `nothing called "luck" can be broken`},
		{"break --name one --node node9 route", "", 2, `no node "node9": there are node1, node2`},
		{"break", "", 0, `neighbours +all permanent neighbours are deleted`},
		{"restart --name one node1", "", 0, `✓ weftd on node1 was killed .* changed: 0`},
		{"etcd --name one stop", "", 0, `✓ etcd: stop`},
		{"status --name one", "", 0, `etcd .* does not answer`},
		{"etcd --name one start", "", 0, `✓ etcd: start`},
		{"etcd --name one pause", "", 0, `✓ etcd: pause`},
		{"etcd --name one resume", "", 0, `✓ etcd: resume`},
		{"etcd --name one compact", "", 0, `✓ etcd: compact`},
		{"etcd --name one keys", "", 0, `/coreos.com/network/subnets/10\.244\.`},
		{"etcd --name one wipe", "", 0, `✓ etcd: wipe`},
		{"etcd --name one burn", "", 2, `choose one of stop, start`},
		{"down --name one", "", 0, `^$`},
		{"list", "", 0, `(?m)^two$`},
		{"status --name one", "", 2, `no lab called "one" runs \(running: .*two\)`},
		{"ping --name two", "", 0, `✓  IPv4  answers .* 6 of 6`},
		{"down --name two", "", 0, `^$`},
		{"status --name two", "", 2, `no lab called "two" runs`},
	} {
		out, code := weftctl(t, c.stdin, append([]string{"lab"}, strings.Fields(c.args)...)...)
		if code != c.code || !regexp.MustCompile(c.want).MatchString(out) {
			t.Errorf("weftctl lab %s: status %d, want %d and %s\n%s", c.args, code, c.code, c.want, out)
		}
	}
}

// TestNothingLeft kills labs without a warning, and looks for what is left of them.
func TestNothingLeft(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for _, c := range []struct {
		name   string
		signal unix.Signal
		victim func(front int) int // which process is killed
	}{
		{"the command is killed", unix.SIGKILL, func(front int) int { return front }},
		{"the command is interrupted", unix.SIGINT, func(front int) int { return front }},
		{"the first process inside is killed", unix.SIGKILL, func(front int) int { return children(t, front)[0] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(binDir+"/weftctl", "lab", "demo", "--nodes=2", "--pods=50")
			cmd.Env = append(os.Environ(), "LAB_MARK="+t.Name())
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "pods"); {
			}
			eventually(t, "weftd to run", func() error {
				if n := len(marked(t)); n < 4 { // the command, the first process inside, etcd, two weftds
					return fmt.Errorf("%d processes run", n)
				}
				return nil
			})
			must(t, unix.Kill(c.victim(cmd.Process.Pid), c.signal))
			_ = cmd.Wait() // it was killed
			eventually(t, "all processes to end", func() error {
				if left := marked(t); len(left) > 0 {
					return fmt.Errorf("left are %v", left)
				}
				return nil
			})
			left, err := filepath.Glob(tmp + "/*")
			if err != nil || len(left) > 0 {
				t.Errorf("files are left: %v %v", left, err)
			}
		})
	}
}

// marked are the processes that have the test's mark in their environment. Those of labs inside are seen as well.
func marked(t *testing.T) []int {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	must(t, err)
	var pids []int
	for _, path := range environs {
		env, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(env, []byte("LAB_MARK="+t.Name()+"\x00")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/environ", &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// children are the child processes of a process.
func children(t *testing.T, pid int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	must(t, err)
	var pids []int
	for _, path := range lists {
		text, err := os.ReadFile(path)
		must(t, err)
		for _, field := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}
