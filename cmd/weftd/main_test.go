package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/install"
)

// environ is an environment in a map.
func environ(m map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
}

func TestFlagsComeFromCommandLineAndEnvironment(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want func(*options)
	}{
		{"defaults", nil, nil, func(*options) {}},
		{"two dashes", []string{"--etcd-prefix=/x", "--ip-masq"}, nil, func(o *options) { o.etcdPrefix, o.ipMasq = "/x", true }},
		{"one dash", []string{"-etcd-prefix", "/x", "-ip-masq=true", "-iface=eth1"}, nil,
			func(o *options) { o.etcdPrefix, o.ipMasq, o.ifaces = "/x", true, []string{"eth1"} }},
		{"repeated", []string{"--iface=a", "--iface=b"}, nil, func(o *options) { o.ifaces = []string{"a", "b"} }},
		{"flannel's verbosity", []string{"-v=2"}, nil, func(o *options) { o.verbosity = 2 }},
		{"flannel's verbosity apart", []string{"-v", "2"}, nil, func(o *options) { o.verbosity = 2 }},
		{"flannel's environment", nil, map[string]string{"FLANNELD_IP_MASQ": "true", "FLANNELD_ETCD_PREFIX": "/f"},
			func(o *options) { o.ipMasq, o.etcdPrefix = true, "/f" }},
		{"ours before flannel's", nil, map[string]string{"FLANNELD_ETCD_PREFIX": "/f", "WEFTD_ETCD_PREFIX": "/w"},
			func(o *options) { o.etcdPrefix = "/w" }},
		{"the command line before both", []string{"--etcd-prefix=/c"}, map[string]string{"WEFTD_ETCD_PREFIX": "/w"},
			func(o *options) { o.etcdPrefix = "/c" }},
		{"an empty variable is none", nil, map[string]string{"WEFTD_ETCD_PREFIX": ""}, func(*options) {}},
		{"Kubernetes", []string{"-kube-subnet-mgr", "-set-node-network-unavailable=false", "--kube-api-url=https://a,https://b"},
			map[string]string{"POD_NAMESPACE": "kube-system", "POD_NAME": "weft-x", "FLANNELD_KUBECONFIG_FILE": "/k"}, func(o *options) {
				o.kube, o.keepCondition, o.kubeAPI, o.kubeConfig = true, false, "https://a,https://b", "/k"
				o.pod = [2]string{"kube-system", "weft-x"}
			}},
		{"installation", []string{"--cni-install", "--cni-bin-dir=/host/opt/cni/bin", "--cni-conf-name=05-weft.conflist", "--sysctl-dir=/host/proc/sys"},
			map[string]string{"WEFTD_CNI_CONF": "/c", "WEFTD_CNI_CONF_DIR": "/d", "WEFTD_CNI_SOURCE_DIR": "/s"}, func(o *options) {
				o.cniInstall, o.sysctlDir = true, "/host/proc/sys"
				o.cni = install.Options{SourceDir: "/s", BinDir: "/host/opt/cni/bin", Conf: "/c", ConfDir: "/d", ConfName: "05-weft.conflist"}
			}},
		{"node name", nil, map[string]string{"NODE_NAME": "n7"}, func(o *options) { o.nodeName = "n7" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want options
			flagSet(&want)
			c.want(&want)
			want.uplink.Ifaces = want.ifaces
			got, err := parse(c.args, environ(c.env))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, cmp.AllowUnexported(options{}, network.UplinkRules{}), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{}),
				cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("options (-want +got):\n%s", d)
			}
		})
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want []string
	}{
		{"unknown flag", []string{"--ifcae=eth0"}, nil, []string{"--ifcae", "weftd --help"}},
		{"an API server that is none", []string{"--kube-subnet-mgr", "--kube-api-url=ftp://x", "--kube-annotation-prefix=a/b"}, nil, []string{"ftp://x", "a/b"}},
		{"argument", []string{"eth0"}, nil, []string{`"eth0"`, "flags only"}},
		{"all at once", []string{"--public-ip=fd00::1", "--iface-regex=(", "--healthz-port=70000", "--firewall=pf", "--log-level=loud", "--subnet-file="}, nil,
			[]string{"--public-ip", "IPv4", "--iface-regex", "--healthz-port 70000", "nftables", "--log-level", "--subnet-file"}},
		{"installation", []string{"--cni-install", "--cni-conf-name=weft.txt", "--cni-conf="}, nil, []string{"--cni-install", `"weft.txt"`, "file of the CNI configuration is not named"}},
		{"environment", nil, map[string]string{"FLANNELD_IP_MASQ": "perhaps"}, []string{"FLANNELD_IP_MASQ", "perhaps"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // a mistake that is not found must not start an agent on this host
			err := run(ctx, c.args, environ(c.env), io.Discard, io.Discard)
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error %v does not say %q", err, w)
				}
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for arg, want := range map[string]string{"--help": "--etcd-endpoints", "-version": "weftd unknown"} {
		var out bytes.Buffer
		if err := run(context.Background(), []string{arg}, environ(nil), &out, io.Discard); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, printed %s", arg, err, &out)
		}
	}
}

func TestIdentity(t *testing.T) {
	host := func(name string, err error) func() (string, error) {
		return func() (string, error) { return name, err }
	}
	file := func(text string, err error) func(string) ([]byte, error) {
		return func(string) ([]byte, error) { return []byte(text), err }
	}
	none := errors.New("none")
	for _, c := range []struct {
		name, given string
		host        func() (string, error)
		file        func(string) ([]byte, error)
		want        string
	}{
		{"given", "n1", host("h", nil), file("m\n", nil), "n1"},
		{"host name", "", host("h", nil), file("m\n", nil), "h"},
		{"no host name", "", host("", none), file("m\n", nil), "m"},
		{"localhost is no name", "", host("localhost.localdomain", nil), file("m\n", nil), "m"},
		{"nothing", "", host("localhost", nil), file("", none), ""},
		{"machine-id of an image", "", host("localhost", nil), file("uninitialized\n", nil), ""},
	} {
		got, err := identity(c.given, c.host, c.file)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestSocketIsTakenOverFromTheDeadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "weftd.sock")
	first, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path); err == nil || !strings.Contains(err.Error(), "another weftd") {
		t.Errorf("a living socket was taken over: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	second, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestNodeNameInKubernetes is about hosts and pods; the API is asked only by a pod that was not told.
func TestNodeNameInKubernetes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log := logrus.New()
	log.SetOutput(io.Discard)
	name := func(o options) string {
		o.kube, o.kubeConfig = true, filepath.Join(t.TempDir(), "nothing")
		got, err := nodeName(ctx, o, o.stores(log), log)
		if err != nil {
			return err.Error()
		}
		return got
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{name(options{nodeName: "Told"}), name(options{}), name(options{pod: [2]string{"ns", "pod"}})}
	if d := cmp.Diff([]string{"Told", strings.ToLower(host), context.Canceled.Error()}, got); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}
