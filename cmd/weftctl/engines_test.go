package main

import (
	"os"
	"strings"
	"testing"

	"github.com/weft-network/weft/network/engine/extension"
	"github.com/weft-network/weft/network/kernel"
)

// TestCleanupUndoesCommands holds that what the operator's commands did for peers is undone, once.
func TestCleanupUndoesCommands(t *testing.T) {
	n := newNode(t)
	e := extension.New(extension.Options{File: n.path("lib/commands.json"), Env: []string{"PATH=" + os.Getenv("PATH")}})
	var s kernel.State
	s.Commands.Add(kernel.Command{Name: "10.5.2.0/24", Run: "true", Undo: "read key; echo removed $SUBNET $key >>" + n.path("trace"),
		Env: "SUBNET=10.5.2.0/24", Stdin: "its key"})
	if err := e.Put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	out, code := n.cleanup("--dry-run")
	if _, err := os.Stat(n.path("trace")); err == nil || code != 0 || !strings.Contains(out, "command for 10.5.2.0/24") {
		t.Errorf("dry run: status %d, output\n%s", code, out)
	}
	if out, code = n.cleanup(); code != 0 || !strings.Contains(out, "command for 10.5.2.0/24") {
		t.Errorf("status %d, output\n%s", code, out)
	}
	if trace, err := os.ReadFile(n.path("trace")); string(trace) != "removed 10.5.2.0/24 its key\n" {
		t.Errorf("the commands left %q, %v", trace, err)
	}
	if out, code = n.cleanup(); code != 0 || strings.Contains(out, "command") {
		t.Errorf("again: status %d, output\n%s", code, out)
	}
}
