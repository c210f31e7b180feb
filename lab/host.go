package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is a virtual machine's worth of namespaces: network, mounts and host name. Nodes, members of etcd, the router
// and the switch are hosts. Pods are hosts that share the mounts of their node.
type Host struct {
	Name  string
	Addrs []netip.Addr // its own addresses, in the order of the lab's families

	net, mnt, uts int             // descriptors that keep the namespaces alive
	nl            *netlink.Handle // speaks to the kernel in the host's network namespace
	path          string          // of the network namespace, as seen in path's own mount namespace
}

// newHost makes the namespaces. With parent it shares parent's mounts and gets a network namespace only, which is
// found under /run/netns there.
func newHost(name string, parent *Host) (*Host, error) {
	h := &Host{Name: name, net: -1, mnt: -1, uts: -1, path: filepath.Join("/run/netns", name)}
	err := onThread(func() error {
		if parent != nil {
			if err := parent.enter(); err != nil {
				return err
			}
			return h.unshareWithin()
		}
		return h.unshareAll()
	})
	if err != nil {
		h.close()
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	if h.nl, err = netlink.NewHandleAt(netns.NsHandle(h.net), unix.NETLINK_ROUTE); err != nil {
		h.close()
		return nil, fmt.Errorf("open netlink on host %s: %w", name, err)
	}
	return h, nil
}

// unshareAll makes all namespaces of a host, with its own files in memory.
func (h *Host) unshareAll() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mounts: %w", err)
	}
	if err := h.mountFiles(); err != nil {
		return err
	}
	if err := h.unshareNet(); err != nil {
		return err
	}
	// /sys shows the devices of the network namespace that mounts it.
	if err := (mount{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""}).do(); err != nil {
		return err
	}
	var err error
	h.mnt, err = openNamespace("mnt")
	return err
}

// unshareWithin makes the namespaces of a pod on the thread of its node.
func (h *Host) unshareWithin() error {
	if err := h.unshareNet(); err != nil {
		return err
	}
	var err error
	h.mnt, err = openNamespace("mnt")
	return err
}

// mountFiles gives the host empty /run and /var/lib of its own, and shows the lab's directory in the new /run.
func (h *Host) mountFiles() error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, runDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("open %s: %w", runDir, err)
	}
	shared := trees{{fd, runDir}}
	defer shared.close()
	for _, path := range []string{"/run", "/var/lib"} {
		if err := (mount{"tmpfs", path, unix.MS_NOSUID | unix.MS_NODEV, "mode=755"}).do(); err != nil {
			return err
		}
	}
	return shared.attach()
}

// unshareNet makes the namespaces of network and host name, gives the network a name that ip netns understands, and
// takes from it what only slows a lab down.
func (h *Host) unshareNet() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("unshare network and host name: %w", err)
	}
	if err := unix.Sethostname([]byte(h.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	var err error
	if h.net, err = openNamespace("net"); err != nil {
		return err
	}
	if h.uts, err = openNamespace("uts"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(h.path), 0o755); err != nil {
		return fmt.Errorf("make the directory of network namespaces: %w", err)
	}
	if err := os.WriteFile(h.path, nil, 0o444); err != nil {
		return fmt.Errorf("make the file of the network namespace: %w", err)
	}
	if err := unix.Mount("/proc/thread-self/ns/net", h.path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("keep the network namespace at %s: %w", h.path, err)
	}
	// Nobody else can have these addresses, so nobody needs to wait for seconds to find that out.
	for _, name := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0o644)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("switch duplicate address detection off: %w", err)
		}
	}
	return nil
}

func openNamespace(kind string) (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/"+kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the %s namespace: %w", kind, err)
	}
	return fd, nil
}

// close lets go of the namespaces; the kernel ends them when no process and no mount is left in them.
func (h *Host) close() {
	if h.nl != nil {
		h.nl.Close()
	}
	for _, fd := range []int{h.net, h.mnt, h.uts} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// enter moves the calling thread, which is locked and ends afterwards, into the host.
func (h *Host) enter() error {
	if h.mnt >= 0 {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("enter %s: unshare the working directory: %w", h.Name, err)
		}
		if err := unix.Setns(h.mnt, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the mounts of %s: %w", h.Name, err)
		}
	}
	if h.uts >= 0 {
		if err := unix.Setns(h.uts, unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("enter the host name of %s: %w", h.Name, err)
		}
	}
	if err := unix.Setns(h.net, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network of %s: %w", h.Name, err)
	}
	return nil
}

// Do runs f on a thread inside the host and returns its error. Sockets that f opens stay inside; goroutines that it starts
// run outside.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := h.enter(); err != nil {
			return err
		}
		return f()
	})
}

// onThread runs f on an operating system thread of its own, which ends with it.
func onThread(f func() error) error {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread must not serve others after f changed its namespaces
		errs <- f()
	}()
	return <-errs
}

// Start starts cmd inside the host. The path of the command is looked for by the caller's eyes, or in the lab's binaries
// where it has no slash.
func (h *Host) Start(cmd *exec.Cmd) error {
	return h.Do(func() error {
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s on %s: %w", filepath.Base(cmd.Path), h.Name, err)
		}
		return nil
	})
}

// Run runs a program of the host's file system inside the host and returns what it printed.
func (h *Host) Run(path string, args ...string) (string, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = environment()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := h.Start(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("run %s on %s: %w\n%s", filepath.Base(path), h.Name, err, out.String())
	}
	return out.String(), nil
}

// environment is what processes inside the lab get: the caller's, without what is the lab's own, and with its
// commands first in the path and the CNI plugins last.
func environment() []string {
	env := make([]string, 0, len(os.Environ())+1)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, insideEnv+"=") && !strings.HasPrefix(e, "PATH=") {
			env = append(env, e)
		}
	}
	return append(env, "PATH="+binDir+":"+os.Getenv("PATH")+":/usr/sbin:/sbin:"+cniBinDir) // bridge is iproute2's
}

// setSysctl sets a kernel parameter of the host's network; name is a path below /proc/sys.
func (h *Host) setSysctl(name, value string) error {
	return h.Do(func() error {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set %s on %s: %w", name, h.Name, err)
		}
		return nil
	})
}

// up sets the named device up and gives it addresses. An IPv6 address is usable at once.
func (h *Host) up(device string, addrs ...netip.Prefix) error {
	link, err := h.nl.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find %s on %s: %w", device, h.Name, err)
	}
	if err := h.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up on %s: %w", device, h.Name, err)
	}
	for _, p := range addrs {
		addr := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}
		if err := h.nl.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("add %s to %s on %s: %w", p, device, h.Name, err)
		}
	}
	return nil
}

// route sends what goes to dst by via.
func (h *Host) route(dst netip.Prefix, via netip.Addr) error {
	if err := h.nl.RouteReplace(&netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice(), Protocol: unix.RTPROT_STATIC}); err != nil {
		return fmt.Errorf("route %s via %s on %s: %w", dst, via, h.Name, err)
	}
	return nil
}

// ipNet returns p in the form that package netlink wants.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
