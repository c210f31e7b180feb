package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCheck compares what is printed for each testdata/check/*.txt: a network config, and both outputs for it.
func TestCheck(t *testing.T) {
	forEachArchive(t, "testdata/check/*.txt", func(t *testing.T, in string) string {
		file := filepath.Join(t.TempDir(), "net-conf.json")
		if err := os.WriteFile(file, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := weftctl(t, "check", file)
		if (code == 0) != (stderr == "") || (code == 1) != (stdout == "") {
			t.Errorf("exit %d with stdout %q and stderr %q", code, stdout, stderr)
		}
		return strings.ReplaceAll(stdout+stderr, file, "net-conf.json")
	})
}

func TestCheckReadsStandardInput(t *testing.T) {
	var out strings.Builder
	cmd := newCheckCommand()
	cmd.SetArgs([]string{"-"})
	cmd.SetIn(strings.NewReader(`{"Network": "10.5.0.0/16"}`))
	cmd.SetOut(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(out.String(), "\n"); first != "-: valid" {
		t.Errorf("first line %q", first)
	}
}

// FuzzCheck holds that every config is either valid or explained, whatever it is.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"", "{}", "null", "[]", `{"Network":"10.5.0.0/16"}`, `{"Backend":{"Type":"VXLAN","VNI":-1}}`,
		`{"Network":"10.5.0.0/16","Backend":[]}`, `{"Backend":"x"}`, `{"Network":"10.5.0.0/16"}{}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var stdout, stderr strings.Builder
		err := runCheck("f", text, &stdout, &stderr)
		if (err == nil) != (stderr.String() == "") || (err == nil) == (stdout.String() == "") {
			t.Errorf("error %v, stdout %q, stderr %q", err, stdout.String(), stderr.String())
		}
		if diff := cmp.Diff(exitCode(err) == 0, err == nil); diff != "" {
			t.Error(diff)
		}
	})
}
