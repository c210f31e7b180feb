package main

import (
	"context"
	"strings"
	"testing"
)

// weftctl runs a command line and returns what it printed and how it would exit.
func weftctl(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return weftctlIn(t, nil, args...)
}

// weftctlIn is weftctl with an environment.
func weftctlIn(t *testing.T, env map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	err := run(context.WithoutCancel(t.Context()), args, func(k string) string { return env[k] }, &out, &errs)
	return out.String(), errs.String(), exitCode(err)
}

func TestCommandLines(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string // a part of it
		stderr string // a part of it
	}{
		{"nothing is help", nil, 0, "Available Commands:", ""},
		{"help", []string{"--help"}, 0, "Exit status:", ""},
		{"version", []string{"version"}, 0, "weftctl devel linux/", ""},
		{"unknown command", []string{"stauts"}, 2, "", `unknown command "stauts" for "weftctl"`},
		{"unknown command has a suggestion", []string{"stauts"}, 2, "", "status"},
		{"unknown flag", []string{"status", "--verbose"}, 2, "", "unknown flag: --verbose; see weftctl status --help"},
		{"argument too many", []string{"status", "now"}, 2, "", `status takes flags only, and was given "now"`},
		{"output format", []string{"status", "-o", "yaml"}, 2, "", `output format "yaml": it is text or json`},
		{"socket and address", []string{"status", "--socket", "/s", "--address", "h:1"}, 2, "", "[address socket]"},
		{"check without a file", []string{"check"}, 2, "", "check wants one file"},
		{"check with two files", []string{"check", "a", "b"}, 2, "", "check wants one file"},
		{"check a file that is not there", []string{"check", "testdata/none.json"}, 2, "", "testdata/none.json: no such file"},
		{"check a folder", []string{"check", "testdata"}, 2, "", "is a directory"},
		{"check an endless file", []string{"check", "/dev/zero"}, 2, "", "/dev/zero is larger than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := weftctl(t, tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d, want %d\nstdout:\n%swant %q in it\nstderr:\n%swant %q in it",
					code, tt.code, stdout, tt.stdout, stderr, tt.stderr)
			}
			if tt.stderr == "" && stderr != "" {
				t.Errorf("stderr: %s", stderr)
			}
		})
	}
}
