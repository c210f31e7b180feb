package kube

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLayout(t *testing.T) {
	const separate = `12:cpu,cpuacct:/a
11:cpuset:/
10:memory:/a/b
9:devices:/
8:freezer:/
7:blkio:/
6:pids:/
1:name=systemd:/s
0::/
`
	for _, c := range []struct {
		name    string
		unified bool
		text    string
		want    []string
		err     string
	}{
		{"v2", true, "0::/user.slice\n", []string{"/sys/fs/cgroup/x"}, ""},
		{"v1", false, separate, []string{"/sys/fs/cgroup/cpu/a/x", "/sys/fs/cgroup/cpuacct/a/x", "/sys/fs/cgroup/cpuset/x", "/sys/fs/cgroup/memory/a/b/x",
			"/sys/fs/cgroup/devices/x", "/sys/fs/cgroup/freezer/x", "/sys/fs/cgroup/blkio/x", "/sys/fs/cgroup/pids/x", "/sys/fs/cgroup/systemd/s/x"}, ""},
		{"v1 without systemd", false, strings.Replace(separate, "1:name=systemd:/s\n", "", 1), nil, ""},
		{"v1 without a controller", false, strings.Replace(separate, "6:pids:/\n", "", 1), nil, "there is no pids"},
		{"nothing", false, "", nil, "nodes need cgroup v2 at /sys/fs/cgroup, or v1"},
		{"nonsense", false, "x\n::\n", nil, "there is no cpu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := parseLayout(c.unified, c.text)
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if c.want == nil {
				return
			}
			if diff := cmp.Diff(c.want, l.folders("x")); diff != "" {
				t.Errorf("folders (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDelegate writes to files that look like those of a cgroup.
func TestDelegate(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("cgroup.controllers", "cpuset cpu io memory pids\n")
	if err := delegate(dir); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, delegateFile)); err != nil || string(text) != "+pids" {
		t.Errorf("the last controller that is delegated: %q, %v", text, err)
	}
	write("cgroup.controllers", "cpuset cpu io\n")
	if err := delegate(dir); err == nil || !strings.Contains(err.Error(), "there is no controller memory") || !strings.Contains(err.Error(), "pids") {
		t.Errorf("without controllers: %v", err)
	}
	write(delegateFile, "cpu pids\n")
	for _, name := range []string{"kubepods", "init"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "below"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := renew(dir); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			t.Errorf("%s is left", e.Name())
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, delegateFile)); err != nil || string(text) != "-pids" {
		t.Errorf("the last controller that is taken back: %q, %v", text, err)
	}
}

func TestJoins(t *testing.T) {
	cmd := exec.Command("/usr/bin/env", "ip", "link")
	file, err := joins(cmd, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if !cmd.SysProcAttr.UseCgroupFD || cmd.SysProcAttr.CgroupFD != int(file.Fd()) {
		t.Errorf("the command joins %+v", cmd.SysProcAttr)
	}
	viewed(cmd)
	want := []string{"nsenter", "--cgroup=/proc/1/ns/cgroup", "--", "/usr/bin/env", "ip", "link"}
	if diff := cmp.Diff(want, cmd.Args); diff != "" || cmd.Path != "/usr/bin/nsenter" {
		t.Errorf("%s (-want +got):\n%s", cmd.Path, diff)
	}
	if _, err := joins(cmd, "/nowhere"); err == nil || !strings.Contains(err.Error(), "join a cgroup") {
		t.Errorf("no cgroup: %v", err)
	}
}
