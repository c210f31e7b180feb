package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/lab/vm"
)

func TestParse(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  string
		want  vm.Options
		limit time.Duration
	}{
		{"command", "-- uname -r", vm.Options{Kernel: "6.12", Memory: 512, CPUs: 1, Command: "uname -r"}, 5 * time.Minute},
		{"all", "-kernel 6.1 -memory 2048 -cpus 2 -out left -timeout 1h -p wget -p curl -f a -f b:/etc/b true",
			vm.Options{Kernel: "6.1", Memory: 2048, CPUs: 2, Out: "left", Packages: []string{"wget", "curl"},
				Files: []vm.File{{From: "a"}, {From: "b", To: "/etc/b"}}, Command: "true"}, time.Hour},
		{"test binary", "-exec /tmp/b001/wg.test -test.run=^TestGuest$", vm.Options{Kernel: "6.12", Memory: 512, CPUs: 1,
			Files: []vm.File{{From: "/tmp/b001/wg.test"}, {From: "testdata"}}, Command: "'./wg.test' '-test.run=^TestGuest$'"}, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, limit, err := parse(strings.Fields(c.args), io.Discard)
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil || limit != c.limit {
				t.Errorf("error %v, limit %s, options (-want +got):\n%s", err, limit, diff)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	if _, _, err := parse([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v, want help", err)
	}
	for _, args := range []string{"", "-nonsense x", "-kernel 6.1"} {
		var said bytes.Buffer
		if status := run(t.Context(), strings.Fields(args), io.Discard, &said); status != usage || !strings.Contains(said.String(), "invm: ") {
			t.Errorf("invm %s: status %d, want %d, with a reason: %s", args, status, usage, &said)
		}
	}
}

// A machine that cannot be had is told from a command that failed.
func TestNoMachine(t *testing.T) {
	t.Setenv("PATH", filepath.Join(t.TempDir(), "empty"))
	var said bytes.Buffer
	if status := run(t.Context(), []string{"true"}, io.Discard, &said); status != failed || !strings.Contains(said.String(), "qemu") {
		t.Errorf("status %d, want %d and what is missing: %s", status, failed, &said)
	}
}
