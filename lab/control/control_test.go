package control

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

func TestNames(t *testing.T) {
	const sockets = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 17035 /run/systemd/private
0000000000000000: 00000002 00000000 00010000 0001 01 20001 @weft-lab/1000/weft
0000000000000000: 00000003 00000000 00000000 0001 03 20002 @weft-lab/1000/weft
0000000000000000: 00000002 00000000 00010000 0001 01 20003 @weft-lab/1000/a b
0000000000000000: 00000002 00000000 00010000 0001 01 20004 @weft-lab/0/other
0000000000000000: 00000002 00000000 00010000 0001 01 20005
`
	if diff := cmp.Diff([]string{"a b", "weft"}, Kind{Socket: "weft-lab"}.names(sockets, 1000)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestRequest asks something that serves in this same process.
func TestRequest(t *testing.T) {
	k := Kind{Socket: "weft-test-" + strings.ReplaceAll(t.TempDir(), "/", "-"), Noun: "thing", Command: "weftctl thing"}
	listener, err := k.Listen("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Listen("a"); err == nil || !strings.Contains(err.Error(), "weftctl thing down --name a") {
		t.Errorf("the same name again: %v", err)
	}
	if running, err := k.Running(); err != nil || cmp.Diff([]string{"a"}, running) != "" {
		t.Errorf("running: %v, %v", running, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		return serve(ctx, listener, func(_ context.Context, r Request, files [3]*os.File) Response {
			fmt.Fprint(files[1], r.Verb, r.Args, r.Dir, r.Terminal)
			return Response{Code: 7, Error: "no"}
		})
	})
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	got, err := k.Ask(ctx, "a", Request{Verb: "do", Args: []string{"x", "y"}, Dir: "/d", Terminal: true}, [3]*os.File{os.Stdin, write, write})
	write.Close()
	if diff := cmp.Diff(Response{Code: 7, Error: "no"}, got); diff != "" || err != nil {
		t.Errorf("answer (-want +got):\n%s%v", diff, err)
	}
	text := make([]byte, 100)
	n, _ := read.Read(text)
	if want := "do[x y]/dfalse"; string(text[:n]) != want {
		t.Errorf("printed %q, want %q", text[:n], want)
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := k.Ask(t.Context(), "a", Request{}, [3]*os.File{os.Stdin, os.Stdout, os.Stderr}); err == nil || !strings.Contains(err.Error(), `no thing called "a" runs`) {
		t.Errorf("asked after the end: %v", err)
	}
}
