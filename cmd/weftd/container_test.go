package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet/etcd/etcdtest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

const (
	patience   = 30 * time.Second
	forwarding = "/proc/sys/net/ipv4/ip_forward"
	cniConf    = `{"name":"weft","cniVersion":"1.0.0","plugins":[{"type":"weft"}]}`
)

// container is weftd as a DaemonSet runs it: with a root file system that is read-only, folders of the host, and the
// capability NET_ADMIN only. The test's own namespaces are the host.
type container struct {
	*testing.T
	root, host string // the container's files, and the folders of the host that are mounted in it
	endpoint   string // etcd's
	sysctls    bool   // the host's /proc/sys/net is mounted
	log        *lines
	process    *os.Process
}

// newContainer makes the files of container and host, and the uplink. Nothing runs yet.
func newContainer(t *testing.T, program string, sysctls bool) *container {
	c := &container{T: t, host: t.TempDir(), root: t.TempDir(), sysctls: sysctls, log: &lines{}}
	c.must(unix.Mount("root", c.root, "tmpfs", 0, "mode=755"))
	c.Cleanup(func() { c.must(unix.Unmount(c.root, unix.MNT_DETACH)) })
	data, err := os.ReadFile(program)
	c.must(err)
	c.write(filepath.Join(c.root, "usr/local/bin/weftd"), data, 0o755)
	cluster := etcdtest.Start(t, 1)
	c.endpoint = cluster.Endpoints()[0]
	client := cluster.Client(t)
	_, err = client.Put(t.Context(), "/coreos.com/network/config", `{"Network":"10.5.0.0/16"}`)
	c.must(err)
	c.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "wire"}))
	t.Cleanup(func() {
		for _, name := range []string{"flannel.1", "eth0"} {
			if l, err := netlink.LinkByName(name); err == nil {
				c.must(netlink.LinkDel(l))
			}
		}
	})
	for _, args := range []string{"link set wire up", "link set eth0 up", "addr add 192.0.2.1/24 dev eth0", "route add default via 192.0.2.254"} {
		out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	c.write(filepath.Join(c.host, "configmap/cni-conf.json"), []byte(cniConf), 0o644)
	c.files()
	return c
}

// mounts are the folders of the host that the container sees, by the place where it sees them.
func (c *container) mounts() map[string]string {
	m := map[string]string{}
	for at, from := range map[string]string{"run/flannel": "run/flannel", "run/weft": "run/weft", "var/lib/weft": "var/lib/weft",
		"host/opt/cni/bin": "opt/cni/bin", "host/etc/cni/net.d": "etc/cni/net.d", "etc/kube-flannel": "configmap"} {
		m[at] = filepath.Join(c.host, from)
	}
	if c.sysctls {
		m["host/proc/sys/net"] = "/proc/sys/net"
	}
	return m
}

// files makes the container's root.
func (c *container) files() {
	c.Helper()
	c.write(filepath.Join(c.root, "opt/cni/bin/weft"), []byte("#!/bin/false\n"), 0o755)
	c.mount("/proc", "proc", true)
	c.mount("/proc/sys", "proc/sys", false)
	c.readOnly("proc/sys") // as runc makes it for a container without privileges
	for at, from := range c.mounts() {
		c.must(os.MkdirAll(from, 0o755))
		c.mount(from, at, true)
	}
	c.readOnly("etc/kube-flannel")
	c.readOnly(".")
}

func (c *container) mount(from, at string, all bool) {
	c.Helper()
	to := filepath.Join(c.root, at)
	c.must(os.MkdirAll(to, 0o755))
	flags := uintptr(unix.MS_BIND)
	if all {
		flags |= unix.MS_REC
	}
	c.must(unix.Mount(from, to, "", flags, ""))
}

// readOnly makes a mount one that nobody can write. What else a host's mounts have stays: a user namespace may not take
// it away.
func (c *container) readOnly(at string) {
	c.Helper()
	var st unix.Statfs_t
	path := filepath.Join(c.root, at)
	c.must(unix.Statfs(path, &st))
	keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_RELATIME)
	c.must(unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|keep, ""))
}

// start runs weftd in the container. It ends with the test at the latest.
func (c *container) start() {
	c.Helper()
	args := []string{"--etcd-endpoints=" + c.endpoint, "--node-name=n1", "--ip-masq", "--cni-install", "--cni-bin-dir=/host/opt/cni/bin",
		"--cni-conf-dir=/host/etc/cni/net.d", "--sysctl-dir=/host/proc/sys", "--healthz-ip=127.0.0.1", "--healthz-port=10274"}
	cmd := exec.Command("/usr/local/bin/weftd", args...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/local/bin"}
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Pdeathsig: syscall.SIGKILL}
	ended := make(chan struct{})
	c.Cleanup(func() { close(ended) })
	c.must(unprivileged(cmd.Start, ended))
	c.process = cmd.Process
	c.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			c.Errorf("weftd ended with %v", err)
		}
		if c.Failed() {
			c.Logf("weftd said\n%s", c.log)
		}
	})
}

// unprivileged runs f on a thread whose children have no capability but NET_ADMIN, and cannot gain others. The thread, with
// which its children end, lives until ended is closed.
func unprivileged(f func() error, ended <-chan struct{}) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and ended with the goroutine, with what it lost
		for n := uintptr(0); n <= unix.CAP_LAST_CAP; n++ {
			if n != unix.CAP_NET_ADMIN {
				if err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
					done <- fmt.Errorf("dropping the capability %d: %w", n, err)
					return
				}
			}
		}
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = f()
		}
		done <- err
		<-ended
	}()
	return <-done
}

// status asks weftd as weftctl does; the zero value is that of one that does not answer.
func (c *container) status() (s network.Status) {
	conn, err := net.Dial("unix", filepath.Join(c.host, "run/weft/weftd.sock"))
	if err != nil {
		return s
	}
	defer conn.Close()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	resp, err := client.Get("http://weftd/status")
	if err != nil {
		return s
	}
	defer resp.Body.Close()
	c.must(json.NewDecoder(resp.Body).Decode(&s))
	return s
}

// until waits until the status is right.
func (c *container) until(what string, right func(network.Status) bool) {
	c.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		s := c.status()
		if right(s) {
			return
		}
		select {
		case <-late:
			c.Fatalf("%s: not within %s; status %+v, log\n%s", what, patience, s, c.log)
		case <-tick.C:
		}
	}
}

func (c *container) write(path string, data []byte, mode fs.FileMode) {
	c.Helper()
	c.must(os.MkdirAll(filepath.Dir(path), 0o755))
	c.must(os.WriteFile(path, data, mode))
}

func (c *container) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// lines is a log that is read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestContainer holds that weftd needs no more than the documentation says.
func TestContainer(t *testing.T) {
	program := filepath.Join(t.TempDir(), "weftd")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	t.Run("without privileges", func(t *testing.T) { withoutPrivileges(t, program) })
	t.Run("without parameters that can be set", func(t *testing.T) { withoutParameters(t, program) })
}

func withoutPrivileges(t *testing.T, program string) {
	c := newContainer(t, program, true)
	c.must(os.WriteFile(forwarding, []byte("0"), 0))
	c.start()
	c.until("ready", func(s network.Status) bool { return s.Ready && len(s.Warnings) == 0 && s.Firewall.InStep })

	got := map[string]string{}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Pid))
	c.must(err)
	for _, line := range strings.Split(string(text), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && (strings.HasPrefix(key, "Cap") || key == "NoNewPrivs") {
			got[key] = strings.TrimSpace(value)
		}
	}
	only := fmt.Sprintf("%016x", 1<<unix.CAP_NET_ADMIN)
	want := map[string]string{"CapInh": fmt.Sprintf("%016x", 0), "CapPrm": only, "CapEff": only, "CapBnd": only, "CapAmb": fmt.Sprintf("%016x", 0), "NoNewPrivs": "1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rights of weftd (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"etc/cni/net.d/10-weft.conflist": cniConf, "opt/cni/bin/weft": "#!/bin/false\n"} {
		if text, err := os.ReadFile(filepath.Join(c.host, name)); err != nil || string(text) != want {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"run/flannel/subnet.env", "var/lib/weft/leases.json"} {
		c.until(name, func(network.Status) bool {
			_, err := os.Stat(filepath.Join(c.host, name))
			return err == nil
		})
	}
	if text, err := os.ReadFile(forwarding); err != nil || string(text) != "1\n" {
		t.Errorf("forwarding is %q, %v", text, err)
	}
	if strings.Contains(c.log.String(), "level=warn") || strings.Contains(c.log.String(), "level=error") {
		t.Errorf("it is not content:\n%s", c.log)
	}
}

// withoutParameters leaves the mount of the host's parameters out. What is right already is no subject;
// what is wrong is a warning with the remedy, which ends when somebody sets it right.
func withoutParameters(t *testing.T, program string) {
	c := newContainer(t, program, false)
	c.must(os.WriteFile(forwarding, []byte("1"), 0))
	c.start()
	c.until("ready", func(s network.Status) bool { return s.Ready && len(s.Warnings) == 0 })
	const remedy = `run on the host "sysctl -w net.ipv4.ip_forward=1"`
	for range 2 {
		c.must(os.WriteFile(forwarding, []byte("0"), 0))
		c.until("warned", func(s network.Status) bool {
			return s.Ready && len(s.Warnings) == 1 && strings.Contains(s.Warnings[0], remedy)
		})
		c.must(os.WriteFile(forwarding, []byte("1"), 0))
		c.until("content", func(s network.Status) bool { return s.Ready && len(s.Warnings) == 0 })
	}
	if n := strings.Count(c.log.String(), "sysctl -w"); n != 2 {
		t.Errorf("%d lines about two mistakes:\n%s", n, c.log)
	}
	if strings.Contains(c.log.String(), "kernel: put") && strings.Contains(c.log.String(), "object=\"sysctl") {
		t.Errorf("it says to have set what it cannot set:\n%s", c.log)
	}
}
