package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The limits are raised as long as one of several processes needs that, and then are what they were before the first.
func TestRaiseLimits(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "limits")
	is := func(what string, want map[string]string) {
		t.Helper()
		got := map[string]string{}
		for name := range want {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			got[name] = string(text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	for name, text := range map[string]string{"low": "128\n", "high": "9000\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int64{"low": 4096, "high": 4096}
	for range 2 { // nothing is left of the first time
		var restores []func() error
		for range 2 {
			restore, err := raise(root, file, want)
			if err != nil {
				t.Fatal(err)
			}
			restores = append(restores, restore)
		}
		for _, restore := range restores {
			is("raised", map[string]string{"low": "4096", "high": "9000\n"})
			if err := restore(); err != nil {
				t.Fatal(err)
			}
		}
		is("restored", map[string]string{"low": "128", "high": "9000"})
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("%s: %v", file, err)
		}
		if err := os.WriteFile(filepath.Join(root, "high"), []byte("9000\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRaiseLimitsFails(t *testing.T) {
	for _, c := range []struct{ name, limit, file, want string }{
		{"no such limit", "", "", "no such file"},
		{"no number", "many", "", "read low: "},
		{"a file of somebody else", "128", "many", "read "},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, file := t.TempDir(), filepath.Join(t.TempDir(), "limits")
			for path, text := range map[string]string{filepath.Join(root, "low"): c.limit, file: c.file} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := raise(root, file, map[string]int64{"low": 4096})
			if err == nil || !strings.Contains(err.Error(), "raise limits of this machine: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
