package mixed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// agent is a flanneld or a weftd that runs on a node.
type agent struct {
	kind string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

// healthz is where agents tell how they are, in the node's namespace.
const healthz = "127.0.0.1:8081"

// flags are those that both kinds know.
func (n *node) flags() []string {
	return []string{"--kube-subnet-mgr", "--kubeconfig-file=" + n.w.file("kubeconfig"), "--net-config-path=" + n.w.file("net-conf.json"),
		"--subnet-file=" + filepath.Join(n.dir, "subnet.env"), "--ip-masq", "--healthz-ip=127.0.0.1", "--healthz-port=8081"}
}

// start runs an agent on the node and waits until it says that it is ready.
func (n *node) start(kind string) {
	t := n.w.t
	t.Helper()
	bin, flags := filepath.Join(n.w.bin.flannel, kind), n.flags()
	if kind == "weftd" {
		bin = filepath.Join(n.w.bin.weft, kind)
		flags = append(flags, "--state-dir="+n.dir, "--socket=")
	}
	a := &agent{kind: kind, log: &bytes.Buffer{}, cmd: exec.Command(bin, flags...)}
	a.cmd.Env = append(os.Environ(), "NODE_NAME="+n.name)
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	n.Do(t, func() { must(t, a.cmd.Start()) })
	n.agent = a
	t.Cleanup(func() {
		n.stop(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s on %s:\n%s", kind, n.name, tail(a.log.String(), 60))
		}
	})
	eventually(t, kind+" on "+n.name+" to be ready", n.ready)
}

// stop ends the agent of the node, if there is one.
func (n *node) stop(sig syscall.Signal) {
	if n.agent == nil {
		return
	}
	_ = n.agent.cmd.Process.Signal(sig) // it may have ended by itself
	_ = n.agent.cmd.Wait()              // how it ended is of no interest
	n.agent = nil
}

// ready asks the agent whether it is.
func (n *node) ready() error {
	var answer string
	var err error
	n.Do(n.w.t, func() { answer, err = ask(healthz, "/readyz") })
	if err != nil {
		return err
	}
	if !strings.HasPrefix(answer, "HTTP/1.0 200 ") {
		return errors.New(answer)
	}
	if n.read("subnet.env") == "" {
		return errors.New("there is no subnet.env")
	}
	return nil
}

// ask sends a request from the namespace of the thread.
func ask(addr, path string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	return string(text), err
}
