package child_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/network/engine/child"
)

func newChild(t *testing.T, dir string) *child.Child {
	t.Helper()
	c := child.New(filepath.Join(dir, "c.sock"), []string{"/proc/self/exe", "child"})
	t.Cleanup(func() { c.Call(context.Background(), "end", new(string)) })
	return c
}

func call(t *testing.T, c *child.Child, request string) (answer string) {
	t.Helper()
	if err := c.Call(t.Context(), request, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestLife(t *testing.T) {
	dir := t.TempDir()
	c := newChild(t, dir)
	if err := c.Call(t.Context(), "x", new(string)); !errors.Is(err, child.ErrAbsent) || !strings.Contains(err.Error(), "c.sock") {
		t.Fatalf("without a process: %v", err)
	}
	for range 2 { // the second one finds the first
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("long", 1<<18)
	if got := call(t, c, long); got != long {
		t.Errorf("%d bytes came back, want %d", len(got), len(long))
	}
	pid := call(t, c, "pid")
	if got := call(t, newChild(t, dir), "pid"); got != pid {
		t.Errorf("the next agent finds process %s, want %s", got, pid)
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	if _, rest, _ := strings.Cut(string(stat), ") "); strings.Fields(rest)[3] != pid { // state, parent, group, session
		t.Errorf("it is not in a session of its own: %s", stat)
	}
	if got := niceness(t, "/proc/"+pid+"/stat"); got != -15 && got != niceness(t, "/proc/thread-self/stat") {
		t.Errorf("its niceness is %d", got)
	}
	if got := niceness(t, "/proc/self/stat"); got == -15 {
		t.Error("the agent comes before others, too")
	}
	if info, err := os.Stat(filepath.Join(dir, "c.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
}

// niceness reads that of a process or thread from its line of facts: the seventeenth after the name.
func niceness(t *testing.T, path string) int {
	t.Helper()
	stat, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	n, err := strconv.Atoi(strings.Fields(rest)[16])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWatch(t *testing.T) {
	c := newChild(t, t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	rung := make(chan struct{}, 100)
	var g errgroup.Group
	g.Go(func() error { return c.Watch(ctx, func() { rung <- struct{}{} }) })
	var before string
	for range 3 {
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if pid := call(t, c, "pid"); pid == before {
			t.Errorf("it is process %s still", pid)
		} else {
			before = pid
		}
		for len(rung) == 0 { // until the watcher has come
			call(t, c, "ring")
		}
		_ = c.Call(ctx, "end", new(string)) // it may be gone before it has answered
		for c.Call(ctx, "x", new(string)) == nil {
		}
		for len(rung) > 0 {
			<-rung
		}
	}
	stop()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
}

func TestProgramThatCannotBeStarted(t *testing.T) {
	c := child.New(filepath.Join(t.TempDir(), "c.sock"), []string{"/nonexistent"})
	if err := c.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("error is %v", err)
	}
}
