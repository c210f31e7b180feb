package e2e

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/lab/kube"
)

// TestInstallation is about what the agent puts on its node: with which rights it does, what it puts back, and what
// becomes of it when the node is rebooted and the network is not there.
func TestInstallation(t *testing.T) {
	b := newBed(t, kube.Setup{Proxy: "nftables"})
	n := b.Nodes[0]
	run := func(script string) string {
		t.Helper()
		out, err := n.Run("sh", "-c", script)
		must(t, err)
		return out
	}
	awaitFile := func(t *testing.T, path, want string) {
		t.Helper()
		eventually(t, path, func() error {
			out, err := n.Run("cat", path)
			if err != nil || !strings.Contains(out, want) {
				return fmt.Errorf("%w: %q", err, out)
			}
			return nil
		})
	}
	status := func() string {
		t.Helper()
		pod := b.kubectl(t, "-n", "weft-system", "get", "pod", "-l", "app.kubernetes.io/name=weft", "--field-selector", "spec.nodeName="+n.Name(), "-o", "jsonpath={.items[0].metadata.name}")
		out, _ := b.Kubectl(t.Context(), "-n", "weft-system", "exec", pod, "--", "weftctl", "status") // fails while the node is not ready
		return out
	}
	says := func(t *testing.T, words string) {
		t.Helper()
		eventually(t, words, func() error {
			if out := status(); !strings.Contains(out, words) {
				return fmt.Errorf("status is\n%s", out)
			}
			return nil
		})
	}
	t.Run("rights", func(t *testing.T) {
		rights := run(`grep -E "^(Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):" /proc/$(pidof weftd)/status`)
		only := fmt.Sprintf("%016x", 1<<unix.CAP_NET_ADMIN)
		for _, want := range []string{"CapPrm:\t" + only, "CapEff:\t" + only, "CapBnd:\t" + only, "NoNewPrivs:\t1"} {
			if !strings.Contains(rights, want) {
				t.Errorf("%q is not in\n%s", want, rights)
			}
		}
		if out := status(); strings.Contains(out, "warning") || !strings.Contains(out, "ready") {
			t.Errorf("status:\n%s", out)
		}
		if out := run("ls /opt/cni/bin"); !strings.Contains(out, "weft") || !strings.Contains(out, "host-local") {
			t.Errorf("plugins: %s", out)
		}
	})
	t.Run("put back", func(t *testing.T) {
		run("rm " + confFile + " /opt/cni/bin/weft; : > /opt/cni/bin/bridge")
		awaitFile(t, confFile, `"weft"`)
		awaitFile(t, "/opt/cni/bin/weft", "ELF")
		run("echo 0 > /proc/sys/net/ipv4/ip_forward") // through the mount, since the container's own is read-only
		awaitFile(t, "/proc/sys/net/ipv4/ip_forward", "1")
		eventually(t, "the plugin bridge", func() error {
			_, err := n.Run("/opt/cni/bin/bridge")
			return err
		})
		b.well(t)
	})
	configure := func(patch string) {
		t.Helper()
		b.kubectl(t, "-n", "weft-system", "patch", "configmap", "weft-config", "--type=merge", "-p", patch)
	}
	t.Run("ConfigMap", func(t *testing.T) {
		before := run("cat " + confFile)
		good := b.kubectl(t, "-n", "weft-system", "get", "configmap", "weft-config", "-o", `jsonpath={.data.cni-conf\.json}`)
		configure(`{"data":{"cni-conf.json":"{\"name\":\"weft\"}"}}`)
		says(t, `it has no "plugins"; the last good one stays in force`)
		if after := run("cat " + confFile); after != before {
			t.Errorf("the configuration became %s", after)
		}
		configure(fmt.Sprintf(`{"data":{"cni-conf.json":%q}}`, strings.Replace(good, `"hairpinMode": true`, `"hairpinMode": false`, 1)))
		awaitFile(t, confFile, `"hairpinMode": false`)
		configure(fmt.Sprintf(`{"data":{"cni-conf.json":%q}}`, good))
		awaitFile(t, confFile, `"hairpinMode": true`)
	})
	t.Run("reboot", func(t *testing.T) {
		good := b.kubectl(t, "-n", "weft-system", "get", "configmap", "weft-config", "-o", `jsonpath={.data.net-conf\.json}`)
		configure(`{"data":{"net-conf.json":"{"}}`)
		says(t, "is refused")
		b.rebootWithoutMemory(t, n) // with one, the last good config is in force
		eventually(t, "the configuration removed", func() error {
			if out, err := n.Run("ls", confFile); err == nil {
				return fmt.Errorf("there is %s", out)
			}
			return nil
		})
		says(t, "the network config cannot be used")
		eventually(t, "the Node's condition", func() error {
			out, err := b.Kubectl(t.Context(), "get", "node", n.Name(), "-o", `jsonpath={.status.conditions[?(@.type=="Ready")]}`)
			if err != nil || !strings.Contains(out, `"False"`) || !strings.Contains(out, "cni") {
				return fmt.Errorf("%w: %s", err, out)
			}
			t.Log(out)
			return nil
		})
		configure(fmt.Sprintf(`{"data":{"net-conf.json":%q}}`, good))
		awaitFile(t, confFile, `"weft"`)
		b.well(t)
	})
}
