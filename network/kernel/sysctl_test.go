package kernel_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// TestSysctlsElsewhere writes parameters through another folder, as a process does that finds its own read-only.
func TestSysctlsElsewhere(t *testing.T) {
	forwarding := kernel.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"}
	missing := kernel.Sysctl{Name: "net/ipv4/none", Value: "1"}
	for _, tt := range []struct {
		name  string
		mount func(dir string) error // of the parameters, in an empty folder
		// wanted after Apply
		unwritable []kernel.Sysctl
		others     string
	}{
		{"the host's parameters", func(dir string) error { return mountSysctls(dir, false) }, nil, "make sysctl net/ipv4/none=1: "},
		{"read-only", func(dir string) error { return mountSysctls(dir, true) }, []kernel.Sysctl{forwarding}, "make sysctl net/ipv4/none=1: "},
		{"nothing there", func(string) error { return nil }, []kernel.Sysctl{forwarding}, "make sysctl net/ipv4/none=1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(os.Mkdir(filepath.Join(dir, "net"), 0o755), tt.mount(filepath.Join(dir, "net"))); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Unmount(filepath.Join(dir, "net"), unix.MNT_DETACH) })
			var k *kernel.Kernel
			kerneltest.NewNS(t).Do(t, func() {
				var err error
				if k, err = kernel.OpenAs(kernel.Mark{}, dir); err != nil {
					t.Fatal(err)
				}
			})
			t.Cleanup(k.Close)
			have, err := k.List(t.Context(), scope, []string{forwarding.Name})
			if err != nil || have.Sysctls[forwarding.Name].Value != "0" {
				t.Fatalf("before: %v, %v", have.Sysctls, err)
			}
			var c kernel.Change
			c.Put.Sysctls.Add(forwarding)
			c.Put.Sysctls.Add(missing)
			unwritable, others := kernel.Unwritable(k.Apply(t.Context(), c))
			if diff := cmp.Diff(tt.unwritable, slices.Collect(maps.Keys(unwritable))); diff != "" {
				t.Errorf("unwritable (-want +got):\n%s", diff)
			}
			if others == nil || !strings.Contains(others.Error(), tt.others) || strings.Contains(others.Error(), "ip_forward") {
				t.Errorf("other failures: %v", others)
			}
			have, err = k.List(t.Context(), scope, []string{forwarding.Name})
			if set := have.Sysctls[forwarding.Name].Value == "1"; err != nil || set != (tt.unwritable == nil) {
				t.Errorf("after: %v, %v", have.Sysctls, err)
			}
		})
	}
}

// mountSysctls mounts the parameters of the network at dir.
func mountSysctls(dir string, readOnly bool) error {
	err := unix.Mount("/proc/sys/net", dir, "", unix.MS_BIND|unix.MS_REC, "")
	if err != nil || !readOnly {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_RELATIME)
	return unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|keep, "")
}

func TestUnwritable(t *testing.T) {
	forward := kernel.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"}
	denied := kernel.Failure{Object: forward, Err: fmt.Errorf("%w: why", kernel.ErrUnwritable)}
	wrong := kernel.Failure{Object: kernel.Sysctl{Name: "net/x", Value: "1"}, Err: os.ErrNotExist}
	route := kernel.Failure{Object: kernel.Route{Dst: netip.MustParsePrefix("10.0.0.0/8")}, Err: kernel.ErrUnwritable}
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		err    error
		denied bool
		others string // "" for nil
	}{
		{"nothing", nil, false, ""},
		{"denied only", kernel.Failures{denied}, true, ""},
		{"joined with nothing", errors.Join(kernel.Failures{denied}, nil), true, ""},
		{"one denied", errors.Join(kernel.Failures{denied, wrong}, nil), true, "make sysctl net/x=1: file does not exist"},
		{"none denied", kernel.Failures{wrong}, false, "make sysctl net/x=1: file does not exist"},
		{"no parameter", kernel.Failures{route}, false, "make route 10.0.0.0/8 proto 87: it cannot be set from here"},
		{"and more", errors.Join(kernel.Failures{denied}, broken), true, "broken"},
		{"more only", broken, false, "broken"},
	} {
		got, others := kernel.Unwritable(tt.err)
		text := ""
		if others != nil {
			text = others.Error()
		}
		if (got[forward] != nil) != tt.denied || len(got) > 1 || text != tt.others {
			t.Errorf("%s: %v and %q, want %v and %q", tt.name, got, text, tt.denied, tt.others)
		}
	}
}

func TestSysctlCommand(t *testing.T) {
	for name, want := range map[string]string{
		"net/ipv4/ip_forward":              "sysctl -w net.ipv4.ip_forward=1",
		"net/ipv6/conf/eth0.100/accept_ra": "sysctl -w net/ipv6/conf/eth0.100/accept_ra=1",
		"net/ipv6/conf/all/forwarding":     "sysctl -w net.ipv6.conf.all.forwarding=1",
	} {
		if got := (kernel.Sysctl{Name: name, Value: "1"}).Command(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
