package weft

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMoveScript calls the script that moves clusters in ways that end before anything is done. That it moves clusters is
// tested in lab/kube/e2e.
func TestMoveScript(t *testing.T) {
	help := "usage: move-from-flannel.sh VERB [OPTION...]"
	for _, tt := range []struct {
		name    string
		kubectl string // what it does; "" where there is none
		args    []string
		code    int
		want    string // the first line
	}{
		{"help", "", []string{"--help"}, 0, help},
		{"nothing asked for", "", nil, 2, help},
		{"unknown option", "", []string{"move", "--now"}, 1, "move-from-flannel.sh: what is --now? see --help"},
		{"option without value", "", []string{"move", "--node"}, 1, "move-from-flannel.sh: --node needs a value; see --help"},
		{"no kubectl", "", []string{"move"}, 1, "move-from-flannel.sh: kubectl is not installed, or not in the path"},
		{"no cluster", "echo connection refused >&2; exit 1", []string{"move"}, 1, "move-from-flannel.sh: kubectl does not reach the cluster: connection refused"},
		{"no flannel", `[ "$1" = version ] || { echo "not found" >&2; exit 1; }`, []string{"back"}, 1,
			"move-from-flannel.sh: there is no DaemonSet kube-flannel-ds in namespace kube-flannel (not found); name flannel's with --flannel-namespace and --flannel-daemonset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out := moveScript(t, tt.kubectl, tt.args...)
			first, _, _ := strings.Cut(out, "\n")
			if diff := cmp.Diff(tt.want, first); diff != "" || code != tt.code {
				t.Errorf("exit %d, want %d; first line, -want +got:\n%s", code, tt.code, diff)
			}
		})
	}
}

// moveScript runs the script with that kubectl, and nothing else but the usual programs of a host.
func moveScript(t *testing.T, kubectl string, args ...string) (code int, out string) {
	t.Helper()
	path := t.TempDir()
	for _, name := range []string{"sh", "cat", "dirname", "mktemp", "rm", "sed", "grep"} {
		from, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(from, filepath.Join(path, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if kubectl != "" {
		if err := os.WriteFile(filepath.Join(path, "kubectl"), []byte("#!/bin/sh\n"+kubectl+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "dist/kubernetes/move-from-flannel.sh", args...)
	cmd.Env = []string{"PATH=" + path, "TMPDIR=" + t.TempDir()}
	text, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), string(text)
	} else if err != nil {
		t.Fatal(err)
	}
	return 0, string(text)
}

// TestMoveScriptOptions holds that each option that the script takes is in its help, and the other way round.
func TestMoveScriptOptions(t *testing.T) {
	_, help := moveScript(t, "", "--help")
	_, body, _ := strings.Cut(read(t, "dist/kubernetes/move-from-flannel.sh"), "END\n}")
	options := func(text string) map[string]bool {
		found := map[string]bool{}
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') }) {
			if strings.HasPrefix(word, "--") && word != "--help" {
				found[word] = true
			}
		}
		return found
	}
	loop, _, _ := strings.Cut(body, "*) fail")
	if diff := cmp.Diff(options(help), options(loop)); diff != "" {
		t.Errorf("options, -help +taken:\n%s", diff)
	}
}
