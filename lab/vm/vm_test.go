package vm

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun runs a command in each kernel, and looks at all that goes in and comes out.
func TestRun(t *testing.T) {
	for _, kernel := range Kernels() {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("told"), 0o644))
			out := filepath.Join(dir, "out")
			var said bytes.Buffer
			status, err := Run(t.Context(), Options{
				Kernel: kernel, Output: &said, Out: out, Env: []string{"TOLD=it's so"}, Files: []File{{From: filepath.Join(dir, "file"), To: "/etc/told"}},
				Command: `set -e; uname -r; id -u; echo "$WEFT_VM $WEFT_VM_KERNEL $TOLD"; cat /etc/told; echo
					for kind in wireguard ipip vxlan; do ip link add test type $kind || ip link show; ip -o link show type $kind | wc -l; ip link del test || :; done
					mkdir -p /out/deep; echo kept >/out/deep/file; iptables -t nat -S PREROUTING; exit 7`,
			})
			if err != nil || status != 7 {
				t.Errorf("status %d, %v, want 7\n%s", status, err, &said)
			}
			lines := strings.Split(strings.TrimSpace(said.String()), "\n")
			if len(lines) < 4 || !strings.HasPrefix(lines[0], kernel+".") || lines[1] != "0" || lines[2] != "1 "+kernel+" it's so" || lines[3] != "told" {
				t.Errorf("the command wrote:\n%s", &said)
			}
			if text, err := os.ReadFile(filepath.Join(out, "deep", "file")); err != nil || string(text) != "kept\n" {
				t.Errorf("left in /out: %q, %v", text, err)
			}
		})
	}
}

// A guest that does not come to an end is stopped, and one that breaks down has no status.
func TestRunEnds(t *testing.T) {
	t.Run("in time", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		said := ""
		_, err := Run(ctx, Options{Command: "echo started; while :; do sleep 1000; done", Output: writer(func(text string) {
			if said += text; strings.Contains(said, "started") {
				cancel()
			}
		})})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	})
	t.Run("panic", func(t *testing.T) {
		t.Parallel()
		var said bytes.Buffer
		_, err := Run(t.Context(), Options{Command: "echo c >/proc/sysrq-trigger", Output: &said})
		if !errors.Is(err, ErrNoStatus) || !strings.Contains(said.String(), "panic") {
			t.Errorf("error %v, want %v, and the kernel's words\n%s", err, ErrNoStatus, &said)
		}
	})
}

// writer is a function as an io.Writer.
type writer func(string)

func (w writer) Write(text []byte) (int, error) {
	w(string(text))
	return len(text), nil
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		opts Options
		want string
	}{
		{Options{}, "no command"},
		{Options{Command: "true", Kernel: "5.10"}, `kernel "5.10" for a virtual machine: it must be one of 6.12, 6.1`},
		{Options{Command: "true", Files: []File{{From: "/etc/hosts", To: "etc"}}}, "must be absolute"},
	} {
		if _, err := Run(t.Context(), c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Run(%+v): %v, want %s", c.opts, err, c.want)
		}
	}
}

func TestMissing(t *testing.T) {
	if err := missing(); err != nil {
		t.Error(err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := missing(); err == nil || !strings.Contains(err.Error(), "apt-get install --no-install-recommends qemu-system-x86 ") {
		t.Errorf("error %v, want the command that helps", err)
	}
}

func TestQuote(t *testing.T) {
	args := []string{"a b", "it's", "$HOME", "", `"\`}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '%s\\n' "+Quote(args...)).Output()
	if want := strings.Join(args, "\n") + "\n"; err != nil || string(out) != want {
		t.Errorf("the shell reads %q, %v, want %q", out, err, want)
	}
}

// What a guest sends stays in the folder that is meant for it.
func TestExtractStaysInside(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	for _, name := range []string{"../escaped", "a/../../escaped"} {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}
		if err := extract(out, name, h, strings.NewReader("x")); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "escaped")); err == nil {
		t.Error("a file was written beside the folder")
	}
}

// A guest whose end comes before it says how has no status, however much it had sent.
func TestResultIsComplete(t *testing.T) {
	m := machine{dir: t.TempDir()}
	for name, text := range map[string]string{"nothing": "", "garbage": strings.Repeat("x", 2000), "a part": "status"} {
		must(t, os.WriteFile(m.left(), []byte(text), 0o644))
		if _, err := m.result(""); !errors.Is(err, ErrNoStatus) {
			t.Errorf("%s: error %v, want %v", name, err, ErrNoStatus)
		}
	}
}

// Modules of the folders that guests have, and no others, are chosen.
func TestModules(t *testing.T) {
	for name, want := range map[string]bool{
		"lib/modules/6.1/kernel/drivers/net/wireguard/wireguard.ko":  true,
		"lib/modules/6.1/kernel/drivers/net/veth.ko.xz":              true,
		"lib/modules/6.1/kernel/drivers/net/vethernet.ko.xz":         false,
		"lib/modules/6.1/kernel/drivers/net/ethernet/intel/e1000.ko": false,
		"lib/modules/6.1/kernel/net/ipv6/ip6_tunnel.ko":              true,
		"lib/modules/6.1/modules.order":                              false,
		"lib/modules/6.1/kernel/crypto/aes_generic.ko.xz":            true,
	} {
		if got := isModule(name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}
