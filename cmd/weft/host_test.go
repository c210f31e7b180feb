package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-network/weft/lab"
	"github.com/weft-network/weft/network/kernel/kerneltest"
	"github.com/weft-network/weft/subnet"
)

// host is a node of the tests: a network namespace, and a folder for all that plugins keep.
type host struct {
	ns     *kerneltest.NS
	dir    string
	path   string         // CNI_PATH
	config map[string]any // network config, as the tests change it
}

// The subnets of most tests.
const (
	envInet  = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	envInet6 = "FLANNEL_IPV6_NETWORK=fd00:5::/56\nFLANNEL_IPV6_SUBNET=fd00:5:0:1::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	envBoth  = envInet + envInet6
)

// newHost returns a node with this subnet.env ("" for none), whose plugins keep all they keep in a folder of the test.
func newHost(t testing.TB, env string) *host {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{ns: kerneltest.NewNS(t), dir: t.TempDir(), path: path}
	h.config = map[string]any{
		"cniVersion": "1.1.0", "name": "cbr0", "type": "weft", "subnetFile": h.file("subnet.env"), "subnetFileWait": 0,
		"dataDir": h.file("data"), "ipam": map[string]any{"dataDir": h.file("networks")},
	}
	if env != "" {
		h.write(t, "subnet.env", env)
	}
	return h
}

// file returns the path of a file in the folder of the test.
func (h *host) file(name string) string { return filepath.Join(h.dir, name) }

// write makes a file in the folder of the test.
func (h *host) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.file(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pod is an attachment, or what is about to become one.
type pod struct {
	id, ifName string
	ns         *kerneltest.NS
}

// newPod returns a pod without a network.
func newPod(t testing.TB, id string) pod {
	t.Helper()
	return pod{id: id, ifName: "eth0", ns: kerneltest.NewNS(t)}
}

// command returns a call of the plugin that is installed under this name.
func (h *host) command(t testing.TB, plugin, verb string, p pod) *exec.Cmd {
	t.Helper()
	config, err := json.Marshal(h.config)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(h.path, plugin))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CNI_COMMAND=" + verb, "CNI_PATH=" + h.path}
	if p.id != "" {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+p.id, "CNI_IFNAME="+p.ifName)
	}
	if p.ns != nil {
		cmd.Env = append(cmd.Env, "CNI_NETNS="+p.ns.Path())
	}
	cmd.Stdin = bytes.NewReader(config)
	return cmd
}

// call calls the plugin on the node and returns what it printed. An error is the *types.Error that it printed. ADD is
// tried again as by lab.Attach, with the addresses that it would have got at once: host-local goes on after the last one otherwise.
func (h *host) call(t testing.TB, verb string, p pod) (out []byte, err error) {
	t.Helper()
	if verb != "ADD" {
		return h.callOnce(t, verb, p)
	}
	err = lab.Attach(func() (err error) {
		out, err = h.callOnce(t, verb, p)
		return err
	}, func() error {
		_, err := h.callOnce(t, "DEL", p)
		last, errLast := filepath.Glob(h.file("networks/cbr0/last_reserved_ip.*"))
		err = errors.Join(err, errLast)
		for _, file := range last {
			if errFile := os.Remove(file); !errors.Is(errFile, os.ErrNotExist) { // pods may be attached at the same time
				err = errors.Join(err, errFile)
			}
		}
		return err
	})
	return out, err
}

func (h *host) callOnce(t testing.TB, verb string, p pod) ([]byte, error) {
	t.Helper()
	cmd := h.command(t, h.config["type"].(string), verb, p)
	var out []byte
	var err error
	h.ns.Do(t, func() { out, err = cmd.Output() })
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return out, err
	}
	said := &types.Error{}
	if err := json.Unmarshal(out, said); err != nil {
		t.Fatalf("%s failed with no error of the CNI: %q, %s", verb, out, exit.Stderr)
	}
	return nil, said
}

// must calls the plugin and fails the test if the plugin fails.
func (h *host) must(t testing.TB, verb string, p pod) []byte {
	t.Helper()
	out, err := h.call(t, verb, p)
	if err != nil {
		t.Fatalf("%s %s %s: %v", verb, p.id, p.ifName, err)
	}
	return out
}

// add attaches p and returns the result.
func (h *host) add(t testing.TB, p pod) *types100.Result {
	t.Helper()
	result := &types100.Result{}
	if err := json.Unmarshal(h.must(t, "ADD", p), result); err != nil {
		t.Fatal(err)
	}
	return result
}

// reserved returns the addresses that host-local holds for the network.
func (h *host) reserved(t testing.TB) []string {
	t.Helper()
	var addrs []string
	for _, name := range h.list(t, "networks/cbr0") {
		if _, err := netip.ParseAddr(name); err == nil {
			addrs = append(addrs, name)
		}
	}
	return addrs
}

// records returns the names of the files in the data folder.
func (h *host) records(t testing.TB) []string {
	t.Helper()
	return h.list(t, "data")
}

// list returns the names of the files in a folder of the test, none if there is no such folder.
func (h *host) list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(h.file(dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// addrs returns the addresses of a device in a namespace, without link-local ones.
func addrs(t testing.TB, ns *kerneltest.NS, device string) []string {
	t.Helper()
	var found []net.Addr
	ns.Do(t, func() {
		if i, err := net.InterfaceByName(device); err == nil {
			found, err = i.Addrs()
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	var list []string
	for _, a := range found {
		if !strings.HasPrefix(a.String(), "fe80:") {
			list = append(list, a.String())
		}
	}
	slices.Sort(list)
	return list
}

// codeOf returns the code of an error of the CNI.
func codeOf(err error) uint {
	var said *types.Error
	if !errors.As(err, &said) {
		return 0
	}
	return said.Code
}

// mustEnv returns a text of subnet.env as a value.
func mustEnv(t testing.TB, text string) subnet.Env {
	t.Helper()
	env, err := subnet.ParseEnv(text)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// script installs a plugin of the test's own beside the real ones.
func (h *host) script(t testing.TB, name, text string) {
	t.Helper()
	h.write(t, "bin/"+name, "#!/bin/sh\n"+text+"\n")
	if err := os.Chmod(h.file("bin/"+name), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, real := range []string{"weft", "flannel", "bridge", "host-local"} {
		if err := os.Symlink(filepath.Join(h.path, real), h.file("bin/"+real)); err != nil {
			t.Fatal(err)
		}
	}
	h.path = h.file("bin")
}
