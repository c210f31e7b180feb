package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRunningAgents(t *testing.T) {
	proc := t.TempDir()
	for _, p := range []struct{ dir, comm, ns string }{
		{"self", "weftctl", "net:[1]"},
		{"7", "weftd", "net:[1]"},
		{"8", "flanneld", "net:[1]"},
		{"9", "weftd", "net:[2]"}, // a node of the lab, say
		{"10", "weftd-backup", "net:[1]"},
		{"11", "weftd", ""}, // gone between two looks
		{"net", "weftd", "net:[1]"},
	} {
		if err := os.MkdirAll(filepath.Join(proc, p.dir, "ns"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, p.dir, "comm"), []byte(p.comm+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if p.ns == "" {
			continue
		}
		if err := os.Symlink(p.ns, filepath.Join(proc, p.dir, "ns/net")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := runningAgents(proc)
	if err != nil {
		t.Fatal(err)
	}
	want := []agentProcess{{"weftd", 7}, {"flanneld", 8}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(agentProcess{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRunningAgentsWithoutProc(t *testing.T) {
	if _, err := runningAgents(t.TempDir()); err == nil || !strings.Contains(err.Error(), "self/ns/net") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

// TestCleanupGoesWrong holds that a mistake in the command line changes nothing.
func TestCleanupGoesWrong(t *testing.T) {
	n := newNode(t)
	n.weave()
	n.write("net-conf.json", `{"Network":"10.5.0.0/16",`)
	for _, tt := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--config", n.path("none.json")}, "none.json: no such file"},
		{[]string{"--config", n.path("net-conf.json")}, "read the network config: "},
		{[]string{"everything"}, `cleanup takes flags only, and was given "everything"`},
		{[]string{"--dryrun"}, "unknown flag: --dryrun"},
	} {
		before := n.command("ip", "-br", "addr") + n.command("nft", "list", "ruleset")
		output, code := n.cleanup(tt.flags...)
		if code != 2 || !strings.Contains(output, tt.want) {
			t.Errorf("cleanup %v: exit %d, want 2, and %q in\n%s", tt.flags, code, tt.want, output)
		}
		if diff := cmp.Diff(before, n.command("ip", "-br", "addr")+n.command("nft", "list", "ruleset")); diff != "" {
			t.Errorf("cleanup %v changed the host:\n%s", tt.flags, diff)
		}
	}
	if output, code := n.cleanup(); code != 0 {
		t.Errorf("exit %d\n%s", code, output)
	}
}
