package extension_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/weft-network/weft/network/engine/extension"
	"github.com/weft-network/weft/network/kernel"
)

// bed is an engine whose commands leave traces in a folder.
type bed struct {
	*testing.T
	dir  string
	o    extension.Options
	e    *extension.Engine
	said *test.Hook
}

func newBed(t *testing.T) *bed {
	log, said := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	b := &bed{T: t, dir: t.TempDir(), said: said}
	b.o = extension.Options{File: filepath.Join(b.dir, "state", "extension.json"), Timeout: time.Minute, Log: log,
		Env: []string{"PATH=" + os.Getenv("PATH"), "DIR=" + b.dir, "SUBNET=left over", "WEFTD_ETCD_PASSWORD=secret", "KEPT=1"}}
	b.e = extension.New(b.o)
	return b
}

// pass makes the engine hold want, as the agent does, and returns what it did: its state differs from want by that.
func (b *bed) pass(want ...kernel.Command) error {
	b.Helper()
	var have, s kernel.State
	if err := b.e.List(b.Context(), &have); err != nil {
		return err
	}
	for _, c := range want {
		s.Commands.Add(c)
	}
	c := kernel.Diff(have, s)
	return errors.Join(b.e.Put(b.Context(), c.Put), b.e.Drop(b.Context(), c.Drop))
}

// trace is what commands have appended to the file "trace".
func (b *bed) trace() string {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, "trace"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	return string(data)
}

// wantTrace compares all that was run so far.
func (b *bed) wantTrace(what string, lines ...string) {
	b.Helper()
	if diff := cmp.Diff(strings.Join(lines, "\n"), strings.TrimSpace(b.trace())); diff != "" {
		b.Errorf("%s: commands that were run (-want +got):\n%s", what, diff)
	}
}

// peer is a command for a peer, with traces of what it is told.
func peer(name string) kernel.Command {
	return kernel.Command{Name: name, Run: `read data; echo "add $SUBNET $data" >>$DIR/trace`,
		Undo: `read data; echo "remove $SUBNET $data" >>$DIR/trace`, Env: "PUBLIC_IP=192.0.2.2\nSUBNET=" + name, Stdin: "key of " + name}
}

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func TestCommandsAreRunOnceAndUndone(t *testing.T) {
	b := newBed(t)
	up := kernel.Command{Name: "startup", Run: `echo "up $NETWORK" >>$DIR/trace`, Env: "NETWORK=10.5.0.0/16"}
	b.must(b.pass(peer("10.5.2.0/24"), up, peer("10.5.3.0/24")))
	all := []string{"up 10.5.0.0/16", "add 10.5.2.0/24 key of 10.5.2.0/24", "add 10.5.3.0/24 key of 10.5.3.0/24"}
	b.wantTrace("first pass", all...)
	b.must(b.pass(peer("10.5.2.0/24"), up, peer("10.5.3.0/24")))
	b.wantTrace("second pass", all...)

	moved := peer("10.5.3.0/24")
	moved.Stdin = "another key"
	b.must(b.pass(up, moved))
	all = append(all, "remove 10.5.3.0/24 key of 10.5.3.0/24", "add 10.5.3.0/24 another key", "remove 10.5.2.0/24 key of 10.5.2.0/24")
	b.wantTrace("one changed, one gone", all...)
	b.must(b.pass(up, moved))
	b.wantTrace("nothing changed", all...)
	b.must(b.pass())
	b.wantTrace("the end", append(all, "remove 10.5.3.0/24 another key")...)
}

func TestEnvironment(t *testing.T) {
	b := newBed(t)
	c := peer("10.5.2.0/24")
	c.Run = `env | grep -v -e ^PATH= -e ^DIR= -e ^PWD= -e ^OLDPWD= -e ^SHLVL= -e ^_= | sort >>$DIR/trace; cat >>$DIR/trace`
	b.must(b.pass(c))
	b.wantTrace("what a command finds", "KEPT=1", "PUBLIC_IP=192.0.2.2", "SUBNET=10.5.2.0/24", "key of 10.5.2.0/24")
}

// TestNothingIsInjected holds that what peers announce is never read as a program.
func TestNothingIsInjected(t *testing.T) {
	for _, data := range []string{"$(touch $DIR/trace)", "`touch $DIR/trace`", "'; touch $DIR/trace; '", "\"; touch $DIR/trace; \"", "x\n touch $DIR/trace\n", "-e"} {
		b := newBed(t)
		c := peer("10.5.2.0/24")
		c.Run = `data=$(cat); printf '%s' "$data" >$DIR/got`
		c.Stdin = data
		b.must(b.pass(c))
		b.wantTrace(data)
		got, err := os.ReadFile(filepath.Join(b.dir, "got"))
		b.must(err)
		if want := strings.TrimRight(data, "\n"); string(got) != want {
			t.Errorf("the command read %q, want %q", got, want)
		}
	}
}

func TestFailureIsToldAndTriedAgain(t *testing.T) {
	b := newBed(t)
	bad := peer("10.5.2.0/24")
	bad.Run = `echo try >>$DIR/trace; echo "no such thing" >&2; test -e $DIR/ok`
	for range 2 {
		err := b.pass(bad, peer("10.5.3.0/24"))
		if err == nil || !strings.Contains(err.Error(), "10.5.2.0/24") || !strings.Contains(err.Error(), "exit status 1: no such thing") {
			t.Fatalf("error is %v, want one that says which command failed, and why", err)
		}
	}
	all := []string{"try", "add 10.5.3.0/24 key of 10.5.3.0/24", "remove 10.5.2.0/24 key of 10.5.2.0/24", "try"}
	b.wantTrace("failed twice", all...)
	b.must(os.WriteFile(filepath.Join(b.dir, "ok"), nil, 0o600))
	b.must(b.pass(bad, peer("10.5.3.0/24")))
	all = append(all, "remove 10.5.2.0/24 key of 10.5.2.0/24", "try")
	b.wantTrace("put right", all...)
	b.must(b.pass(bad, peer("10.5.3.0/24")))
	b.wantTrace("once more", all...)
}

func TestPeersWaitForTheStartup(t *testing.T) {
	b := newBed(t)
	up := kernel.Command{Name: "startup", Run: "test -e $DIR/ok"}
	if err := b.pass(peer("10.5.2.0/24"), up); err == nil {
		t.Fatal("the failure of the startup command is not told")
	}
	b.wantTrace("without the startup")
	b.must(os.WriteFile(filepath.Join(b.dir, "ok"), nil, 0o600))
	b.must(b.pass(peer("10.5.2.0/24"), up))
	b.wantTrace("after it", "add 10.5.2.0/24 key of 10.5.2.0/24")
}

func TestRestart(t *testing.T) {
	b := newBed(t)
	b.must(b.pass(peer("10.5.2.0/24"), peer("10.5.3.0/24"), peer("10.5.4.0/24")))
	all := strings.Split(strings.TrimSpace(b.trace()), "\n")
	b.e = extension.New(b.o)
	moved := peer("10.5.4.0/24")
	moved.Stdin = "another key"
	b.must(b.pass(peer("10.5.2.0/24"), moved))
	all = append(all, "add 10.5.2.0/24 key of 10.5.2.0/24", "remove 10.5.4.0/24 key of 10.5.4.0/24", "add 10.5.4.0/24 another key",
		"remove 10.5.3.0/24 key of 10.5.3.0/24")
	b.wantTrace("one stayed, one moved, one went", all...)
	b.must(b.pass(peer("10.5.2.0/24"), moved))
	b.wantTrace("second pass", all...)
}

func TestRestartAfterAnEndInTheMiddle(t *testing.T) {
	b := newBed(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := peer("10.5.2.0/24")
	c.Run = "echo half >>$DIR/trace; sleep 1000"
	var s kernel.State
	s.Commands.Add(c)
	done := make(chan error, 1)
	go func() { done <- b.e.Put(ctx, s) }()
	b.until("the command runs", func() bool { return b.trace() != "" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that of the context", err)
	}
	b.e = extension.New(b.o)
	b.must(b.pass())
	b.wantTrace("it is not wanted any more", "half", "remove 10.5.2.0/24 key of 10.5.2.0/24")
}

func TestDamagedFile(t *testing.T) {
	b := newBed(t)
	b.must(os.MkdirAll(filepath.Dir(b.o.File), 0o700))
	b.must(os.WriteFile(b.o.File, []byte(`{"Version":1,"Comm`), 0o600))
	b.must(b.pass(peer("10.5.2.0/24")))
	b.wantTrace("with a damaged file", "add 10.5.2.0/24 key of 10.5.2.0/24")
	if e := b.said.AllEntries(); len(e) == 0 || e[0].Level != logrus.WarnLevel {
		t.Errorf("nothing was said of the file: %v", e)
	}
}

func TestUndoingIsGivenUp(t *testing.T) {
	b := newBed(t)
	c := peer("10.5.2.0/24")
	c.Undo = "echo undo >>$DIR/trace; false"
	b.must(b.pass(c))
	for i := range 3 {
		if err := b.pass(); (err != nil) != (i < 2) {
			t.Errorf("try %d: error is %v", i+1, err)
		}
	}
	b.must(b.pass())
	b.wantTrace("undone", "add 10.5.2.0/24 key of 10.5.2.0/24", "undo", "undo", "undo")
	if e := b.said.LastEntry(); e.Level != logrus.WarnLevel || !strings.Contains(e.Message, "given up") {
		t.Errorf("last said: %q", e.Message)
	}
}

// TestEndlessCommandIsKilled holds that a command which takes too long goes with all that it has started.
func TestEndlessCommandIsKilled(t *testing.T) {
	b := newBed(t)
	b.o.Timeout = 200 * time.Millisecond
	b.e = extension.New(b.o)
	c := peer("10.5.2.0/24")
	c.Run = "sleep 1000 & echo $! >>$DIR/trace; wait"
	err := b.pass(c)
	if err == nil || !strings.Contains(err.Error(), "not done within 200ms and killed") {
		t.Errorf("error is %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(b.trace()))
	b.must(err)
	b.until("what it started is gone", func() bool { return !alive(pid) })
}

// alive tells whether a process runs; one that nobody has waited for yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestBackgroundIsLeftRunning(t *testing.T) {
	b := newBed(t)
	c := peer("10.5.2.0/24")
	c.Run = "sleep 1000 & echo $! >>$DIR/trace"
	b.must(b.pass(c))
	pid, err := strconv.Atoi(strings.TrimSpace(b.trace()))
	b.must(err)
	if !alive(pid) {
		t.Error("what the command left in the background was ended with it")
	}
	b.must(syscall.Kill(pid, syscall.SIGKILL))
}

func TestPrepare(t *testing.T) {
	for _, test := range []struct {
		name, run, want, wantErr string
	}{
		{"output", "echo; echo ' a'; echo b; echo noise >&2", "a\nb", ""},
		{"none", "true", "", ""},
		{"failure", "echo out; echo why >&2; exit 3", "", "command for preparation: exit status 3: why"},
		{"only output", "echo out; exit 3", "", "exit status 3: out"},
		{"not found", "no-such-program", "", "exit status 127: sh: "},
		{"too much", "head -c 70000 /dev/zero", "", "it wrote 65536 bytes or more"},
		{"standard input is empty", "cat; echo end", "end", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t)
			got, err := b.e.Prepare(t.Context(), kernel.Command{Name: "preparation", Run: test.run})
			if test.wantErr == "" && err != nil || test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)) {
				t.Fatalf("error is %v, want %q in it", err, test.wantErr)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestOutputIsLogged(t *testing.T) {
	b := newBed(t)
	c := peer("10.5.2.0/24")
	c.Run = "echo out; echo err >&2"
	b.must(b.pass(c))
	if got := b.said.LastEntry().Data["output"]; got != "err\nout" {
		t.Errorf("logged output is %q", got)
	}
	c.Run = "head -c 100000 /dev/zero | tr '\\0' x"
	b.must(b.pass(c))
	if got := b.said.LastEntry().Data["output"].(string); len(got) > 5000 {
		t.Errorf("%d bytes of output are logged", len(got))
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newBed(t).e.Run(ctx, func() { t.Error("it rang") }); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// until waits for something that should come at once.
func (b *bed) until(what string, is func() bool) {
	b.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !is() {
		select {
		case <-late:
			b.Fatalf("%s: not within 30 s", what)
		case <-tick.C:
		}
	}
}
