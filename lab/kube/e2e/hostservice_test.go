package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// service starts weftd as a service of the host does, with the credentials of the kubelet.
func (b *bed) service(t *testing.T, n *kube.Node) {
	t.Helper()
	bin := filepath.Join(filepath.Dir(parts(t).Pod), "bin")
	must(t, n.Do(func() error {
		return errors.Join(os.MkdirAll("/etc/weft", 0o755),
			os.WriteFile("/etc/weft/net-conf.json", []byte(`{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}`), 0o644),
			os.WriteFile("/etc/weft/cni-conf.json", []byte(`{"name": "weft", "cniVersion": "1.1.0", "plugins": [{"type": "weft", "delegate": {"isDefaultGateway": true}}]}`), 0o644))
	}))
	command := filepath.Join(bin, "weftd") + " --kube-subnet-mgr --kubeconfig-file=" + filepath.Join(b.Dir(), n.Name(), "kubelet.kubeconfig") +
		" --net-config-path=/etc/weft/net-conf.json --ip-masq --cni-install --cni-source-dir=" + filepath.Join(bin, "cni") + " --cni-conf=/etc/weft/cni-conf.json"
	_, err := n.Run("sh", "-c", command+" >>/var/log/weftd.log 2>&1 &") // the machine's first process takes it in
	must(t, err)
}

// A node whose weftd is a service of the host does not need the API for its pods.
func TestHostService(t *testing.T) {
	b := &bed{Cluster: up(t, kube.Setup{})}
	n := b.Nodes[1]
	rights, err := os.ReadFile(filepath.Join(root, "dist/host-service.yaml"))
	must(t, err)
	must(t, b.Apply(t.Context(), string(rights)))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(n.Run("tail", "-n", "40", "/var/log/weftd.log"))
		}
	})

	t.Run("agents before the API", func(t *testing.T) {
		b.Plane().StopAPI()
		for _, n := range b.Nodes {
			b.service(t, n)
		}
		for _, n := range b.Nodes {
			eventually(t, n.Name()+" to wait", func() error {
				out, err := n.Run("cat", "/run/flannel/subnet.env.waiting")
				return errors.Join(err, mentions(out, "connect: connection refused: is it running, and reachable from here?"))
			})
			if _, err := n.Run("ls", confFile); err == nil {
				t.Errorf("%s has a CNI configuration before it has a network", n.Name())
			}
		}
		must(t, b.Plane().StartAPI(t.Context()))
		b.works(t, n)
	})
	pod := b.pods(t, b.Nodes[0])[0]
	t.Run("rebooted while the API is away", func(t *testing.T) {
		must(t, n.Do(func() error { return os.WriteFile("/etc/kubernetes/manifests/static.yaml", []byte(staticPod), 0o600) }))
		b.Plane().StopAPI()
		must(t, n.Reboot(t.Context()))
		b.service(t, n)
		eventually(t, "a pod that needs no API", func() error {
			out, err := n.Run("sh", "-c", "for s in /run/netns/*; do nsenter --net=$s ip -4 -o address show dev eth0; done")
			if err != nil {
				return err
			}
			for word := range strings.FieldsSeq(out) {
				if a, err := netip.ParsePrefix(word); err == nil {
					return reaches(pod, &kube.Pod{Addrs: [2]netip.Addr{a.Addr()}})
				}
			}
			return fmt.Errorf("no pod has an address: %s", out)
		})
		must(t, b.Plane().StartAPI(t.Context()))
		b.works(t, n, pod)
		static := &kube.Pod{Name: "static-" + n.Name()}
		eventually(t, "the API to know the pod", func() error {
			if err := b.Look(t.Context(), static); err != nil || !static.Addrs[subnet.Inet].IsValid() {
				return errors.Join(err, errors.New("it has no address"))
			}
			return nil
		})
		talk(t, pod, static)
	})
}

// mentions tells whether a text has words in it.
func mentions(text, words string) error {
	if !strings.Contains(text, words) {
		return fmt.Errorf("%q is not in %q", words, text)
	}
	return nil
}
