package kube

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// MachineCommand is with what a cluster runs its own executable to get a machine: "EXECUTABLE lab kube machine CONFIG". The
// main function of whatever uses this package, tests included, hands CONFIG to RunMachine.
const MachineCommand = "machine"

// machine is a process that is pid 1 of namespaces of its own. When it is killed all that runs there ends, as in a power
// cut. What lies below dir stays, but for /run.
type machine struct {
	name  string
	dir   string // its disk
	addrs [2]netip.Addr

	cgroup string   // with cgroup v2: folder of all its processes
	init   *process // nil while it is switched off
}

// machineConfig is what RunMachine is told.
type machineConfig struct {
	Name, Dir string
	Cgroup    string // with v1: of its pods, in every hierarchy below the caller's own
	Unified   bool   // the machine has cgroup v2, and was started in its own one
	Owned     bool   // with v2: that is the root of what it sees
	Boot      string // identity of this boot, in the form of a UUID
}

// privateFolders are those of which a machine has its own, which begin as the host's are or empty.
var (
	copiedFolders = []string{"/etc", "/opt"}
	emptyFolders  = []string{"/var/lib", "/var/log"}
)

// machineSysctls are parameters of the whole kernel that a kubelet writes when it starts. A machine has files in their
// place.
func machineSysctls(boot string) map[string]string {
	return map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000", "kernel/random/boot_id": boot,
	}
}

// RunMachine is pid 1 of a machine: it mounts what a machine has, says so on standard output, and then reaps what others
// leave behind until it is killed.
func RunMachine(config string) error {
	var c machineConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return fmt.Errorf("read the config of the machine: %w", err)
	}
	if c.Unified && !c.Owned {
		return c.ownCgroup()
	}
	if err := c.settle(); err != nil {
		return err
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	fmt.Println("ready")
	for range children { // whatever lost its parent is this process's child
		for pid := 1; pid > 0; {
			pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil) // that there is none, is told by the error
		}
	}
	return nil
}

// settle mounts everything.
func (c machineConfig) settle() error {
	if err := unix.Sethostname([]byte(c.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	for _, step := range []func() error{c.mountSystem, c.mountCgroups, c.mountFolders, c.mountSysctls} {
		if err := step(); err != nil {
			return err
		}
	}
	// A kubelet wants mounts to reach its containers.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make the mounts shared: %w", err)
	}
	return nil
}

// mountSystem mounts the /proc and /sys of the new namespaces.
func (c machineConfig) mountSystem() error {
	if err := (mount{"proc", "/proc", "proc", 0, ""}).do(); err != nil {
		return err
	}
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount /sys: %w", err)
	}
	if err := (mount{"sysfs", "/sys", "sysfs", 0, ""}).do(); err != nil {
		return err
	}
	if c.Unified {
		return nil
	}
	return mount{"tmpfs", cgroupRoot, "tmpfs", 0, "mode=755"}.do()
}

// mountFolders mounts what the machine has of its own.
func (c machineConfig) mountFolders() error {
	var errs []error
	for _, path := range copiedFolders {
		upper, work := filepath.Join(c.Dir, path), filepath.Join(c.Dir, "work", path)
		errs = append(errs, os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755),
			mount{"overlay", path, "overlay", 0, "lowerdir=" + path + ",upperdir=" + upper + ",workdir=" + work}.do())
	}
	for _, path := range emptyFolders {
		from := filepath.Join(c.Dir, path)
		errs = append(errs, os.MkdirAll(from, 0o755), bind(from, path).do())
	}
	// The disk and the programs are below the cluster's /run, which is covered now.
	disk, err := unix.OpenTree(unix.AT_FDCWD, runDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("open %s: %w", runDir, err))...)
	}
	defer unix.Close(disk)
	errs = append(errs, mount{"tmpfs", "/run", "tmpfs", 0, "mode=755"}.do(), os.MkdirAll("/run/lock", 0o755), os.MkdirAll(runDir, 0o755))
	if err := unix.MoveMount(disk, "", unix.AT_FDCWD, runDir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		errs = append(errs, fmt.Errorf("mount %s: %w", runDir, err))
	}
	return errors.Join(errs...)
}

// mountSysctls covers parameters with files: each machine has its own.
func (c machineConfig) mountSysctls() error {
	var errs []error
	for name, value := range machineSysctls(c.Boot) {
		file := filepath.Join(c.Dir, "sysctl", name)
		errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(value+"\n"), 0o644),
			bind(file, "/proc/sys/"+name).do())
	}
	return errors.Join(errs...)
}

// boot switches the machine on. It has loopback and nothing else.
func (m *machine) boot(log string, c machineConfig) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("start machine %s: %w", m.name, err)
	}
	cmd := exec.Command("/proc/self/exe", "lab", "kube", MachineCommand, string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
		unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
	if m.cgroup == "" {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWCGROUP
	} else {
		if err := renew(m.cgroup); err != nil {
			return fmt.Errorf("start machine %s: %w", m.name, err)
		}
		file, err := joins(cmd, m.cgroup)
		if err != nil {
			return fmt.Errorf("start machine %s: %w", m.name, err)
		}
		defer file.Close()
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start machine %s: %w", m.name, err)
	}
	p, err := startProcess("machine "+m.name, log, cmd)
	if err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		p.kill()
		return fmt.Errorf("start machine %s: it said %q: %w", m.name, line, errors.Join(err, p.why()))
	}
	m.init = p
	return nil
}

// off switches the machine off at once.
func (m *machine) off() {
	if m.init != nil {
		m.init.kill()
		m.init = nil
	}
}

// space is a namespace that a process of the machine is in.
type space struct {
	name string
	kind int
}

// spaces are all of them.
var spaces = []space{
	{"cgroup", unix.CLONE_NEWCGROUP}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"net", unix.CLONE_NEWNET},
	{"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS}, // the last one, after which the others cannot be opened any more
}

// spaces are the namespaces that a thread enters. With cgroup v2, the program that it starts enters that of cgroups itself.
func (m *machine) spaces() []space {
	if m.cgroup != "" {
		return spaces[1:]
	}
	return spaces
}

// enter moves the calling thread, which is locked and ends afterwards, into the machine. Processes that it starts are the
// machine's.
func (m *machine) enter() error {
	if m.init == nil {
		return fmt.Errorf("machine %s is switched off", m.name)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter %s: %w", m.name, err)
	}
	var fds []int
	for _, s := range m.spaces() {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", m.init.cmd.Process.Pid, s.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("enter %s: %w", m.name, err)
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	for i, s := range m.spaces() {
		if err := unix.Setns(fds[i], s.kind); err != nil {
			return fmt.Errorf("enter the %s namespace of %s: %w", s.name, m.name, err)
		}
	}
	return nil
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

// Do runs f on a thread inside the machine and returns its error. Sockets that f opens stay inside, files are those of
// the machine; goroutines that it starts run outside.
func (m *machine) Do(f func() error) error {
	return onThread(func() error { return m.enterAnd(f) })
}

// enterAnd runs f on the calling thread, which is locked and ends afterwards.
func (m *machine) enterAnd(f func() error) error {
	if err := m.enter(); err != nil {
		return err
	}
	return f()
}

// Start starts cmd inside the machine. Its path is one of the machine's, from its root.
func (m *machine) Start(cmd *exec.Cmd) error {
	name := filepath.Base(cmd.Path)
	if err := onThread(func() error { return m.launch(cmd) }); err != nil {
		return fmt.Errorf("start %s on %s: %w", name, m.name, err)
	}
	return nil
}

// launch starts cmd on the calling thread, which is locked and ends afterwards.
func (m *machine) launch(cmd *exec.Cmd) error {
	if m.cgroup != "" {
		file, err := joins(cmd, filepath.Join(m.cgroup, initCgroup))
		if err != nil {
			return err
		}
		defer file.Close()
		viewed(cmd)
	}
	return m.enterAnd(cmd.Start)
}

// Run runs a program of the machine and returns what it printed, which is part of the error too.
func (m *machine) Run(name string, args ...string) (string, error) {
	cmd := exec.Command("/usr/bin/env", append([]string{name}, args...)...)
	cmd.Env = m.environment()
	return m.output(cmd, name+" "+strings.Join(args, " "))
}

// output runs a command inside the machine; what is how errors call it.
func (m *machine) output(cmd *exec.Cmd, what string) (string, error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := m.Start(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("run %s on %s: %w\n%s", what, m.name, err, out.String())
	}
	return out.String(), nil
}
