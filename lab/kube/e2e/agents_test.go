package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/network"
)

// statusOf is what the agent of a node says of itself.
func statusOf(n *kube.Node) (network.Status, error) {
	var s network.Status
	text, err := ask(n, "/status")
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	return s, err
}

// ask asks the agent of a node.
func ask(n *kube.Node, path string) (string, error) {
	var conn net.Conn
	err := n.Do(func() (err error) {
		conn, err = net.DialTimeout("unix", "/run/weft/weftd.sock", 5*time.Second)
		return err
	})
	if err != nil {
		return "", err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	r, err := client.Get("http://weftd" + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// untouched holds that an agent which has just started changed nothing in the kernel.
func untouched(t *testing.T, n *kube.Node) {
	t.Helper()
	s, err := statusOf(n)
	must(t, err)
	for kind, changes := range s.Kernel.Changes {
		if changes != 0 {
			t.Errorf("the new agent of %s made %d changes of %s", n.Name(), changes, kind)
		}
	}
}

// warned waits until all agents warn of something, or of nothing where about is empty.
func (u *update) warned(t *testing.T, about string) {
	t.Helper()
	for _, n := range u.Nodes {
		eventually(t, "a warning of "+about, func() error {
			s, err := statusOf(n)
			said := strings.Join(append(s.Warnings, s.Waiting...), "\n")
			if err == nil && (about == "" && said != "" || !strings.Contains(said, about) || !s.Ready) {
				err = fmt.Errorf("ready %t, %q", s.Ready, said)
			}
			return err
		})
	}
}

// counters are what the agents have changed in the kernel.
func (u *update) counters(t *testing.T) map[string]map[string]uint64 {
	t.Helper()
	all := map[string]map[string]uint64{}
	for _, n := range u.Nodes {
		s, err := statusOf(n)
		must(t, err)
		all[n.Name()] = s.Kernel.Changes
	}
	return all
}

// agentLog is what the agent of a node has logged.
func (u *update) agentLog(t *testing.T, n *kube.Node) (string, error) {
	t.Helper()
	pod, err := u.Kubectl(t.Context(), "-n", "weft-system", "get", "pods", "-l", "app.kubernetes.io/name=weft",
		"--field-selector", "spec.nodeName="+n.Name(), "-o", "jsonpath={.items[*].metadata.name}")
	if err != nil {
		return "", err
	}
	return u.Kubectl(t.Context(), "-n", "weft-system", "logs", pod)
}
