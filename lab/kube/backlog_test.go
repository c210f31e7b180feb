package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Several processes note in one file what is to be restored.
func TestSharedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backlog")
	if err := os.WriteFile(path, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := shared(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := shared(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for _, f := range []*os.File{first, second} {
		if n, err := noted(f); n != 1234 || err != nil {
			t.Errorf("noted %d, %v", n, err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	third, err := shared(path)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if text, err := os.ReadFile(path); err != nil || len(text) > 0 {
		t.Errorf("a new file has %q, %v", text, err)
	}
	if err := os.WriteFile(path, []byte("many"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := noted(third); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("noted: %v", err)
	}
}
