package e2e

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-network/weft/lab/kube"
)

// failure is something that keeps a node from being connected.
type failure struct {
	name     string
	from, to string // what is other in the manifest
	cause    func(t *testing.T, b *bed, n *kube.Node)
	renew    bool // the agent is started again, before and after
	says     string
	not      []place                                  // where it cannot be said
	lasts    func(t *testing.T, b *bed, n *kube.Node) // waits until it has lasted for long enough; nil where that does not matter
	remedy   func(t *testing.T, b *bed, n *kube.Node)
}

// place is where a newcomer looks, and the command that he types.
type place string

const (
	inDescribe place = "kubectl describe node"
	inEvents   place = "kubectl get events"
	inLogs     place = "kubectl logs"
	inStatus   place = "weftctl status"
)

func failures() []failure {
	const identity = `              valueFrom:
                fieldRef:
                  fieldPath: spec.nodeName
`
	return []failure{
		{name: "no network config", from: "  net-conf.json: |\n", to: "  other.json: |\n", renew: true,
			says: "there is no network config yet; put net-conf.json into /etc/kube-flannel/net-conf.json, or the ConfigMap that is mounted there"},
		{name: "broken network config", from: `10.244.0.0/16"`, to: `10.244.0.0"`, renew: true,
			says: `the network config cannot be used: Network`},
		{name: "pod CIDR outside of the network", from: `10.244.0.0/16"`, to: `10.99.0.0/16"`, renew: true,
			says: "of Node node2 is not inside the network 10.99.0.0/16 of net-conf.json: make the network the --cluster-cidr of kube-controller-manager"},
		{name: "no uplink", from: "            - --kube-subnet-mgr\n", to: "            - --kube-subnet-mgr\n            - --iface=eth9\n", renew: true,
			says: "no IPv4 uplink: no device with an IPv4 address matches --iface eth9; name another one: this host has eth0 172.30.0.12"},
		{name: "no Node of that name", from: identity, to: "              value: elsewhere\n", renew: true, not: []place{inDescribe, inEvents},
			says: "the cluster has no Node elsewhere yet: its kubelet makes it when it joins; if the node is known by another name, set NODE_NAME"},
		{name: "no rights", cause: withoutRights, renew: true,
			says: "weftd must be allowed to get, list, watch and patch nodes"},
		{name: "admission policy of other annotations", from: "            - --kube-subnet-mgr\n", to: "            - --kube-subnet-mgr\n            - --kube-annotation-prefix=example.com\n", renew: true,
			says: "apply the manifest again, which has both"},
		{name: "address of another node", cause: annotated("172.30.0.11"), remedy: annotated(""),
			says: "public address is announced by another node: Node node1 at 172.30.0.11"},
		{name: "read-only folder of configurations", cause: readOnly, remedy: writable, renew: true,
			says: "it is mounted read-only: mount the host's folder writable, or leave out --cni-install"},
		{name: "no pod CIDR for a minute", cause: withoutCIDR, lasts: aMinute, remedy: withControllers,
			says: "Node node2 has no pod CIDR yet: kube-controller-manager gives it one when it runs with --allocate-node-cidrs and --cluster-cidr 10.244.0.0/16"},
	}
}

func withoutRights(t *testing.T, b *bed, _ *kube.Node) {
	b.kubectl(t, "delete", "clusterrolebinding", "weft")
}

// annotated has the node announce an address; "" takes that back.
func annotated(address string) func(t *testing.T, b *bed, n *kube.Node) {
	const key = "flannel.alpha.coreos.com/public-ip-overwrite"
	return func(t *testing.T, b *bed, n *kube.Node) {
		word := key + "=" + address
		if address == "" {
			word = key + "-"
		}
		b.kubectl(t, "annotate", "--overwrite", "node", n.Name(), word)
	}
}

func readOnly(t *testing.T, _ *bed, n *kube.Node) {
	_, err := n.Run("mount", "-t", "tmpfs", "-o", "ro", "empty", "/etc/cni/net.d")
	must(t, err)
}

func writable(t *testing.T, _ *bed, n *kube.Node) {
	_, err := n.Run("umount", "/etc/cni/net.d")
	must(t, err)
}

// withoutCIDR has the kubelet make its Node again while nobody gives out pod CIDRs.
func withoutCIDR(t *testing.T, b *bed, n *kube.Node) {
	b.Plane().StopControllers()
	must(t, b.Plane().StartControllers("*", "-node-ipam-controller"))
	b.kubectl(t, "delete", "node", n.Name())
	b.restartKubelet(t, n)
}

// aMinute waits until a Node has been without a pod CIDR for a minute. The agent waits, too: it is not the one that is restarted.
func aMinute(t *testing.T, b *bed, n *kube.Node) {
	agent := b.agent(t, n)
	eventually(t, "the Node to be a minute old", func() error {
		text := b.kubectl(t, "get", "node", n.Name(), "-o", "jsonpath={.metadata.creationTimestamp} {.spec.podCIDR}")
		born, err := time.Parse(time.RFC3339, strings.TrimSpace(text)) // fails where there is a pod CIDR
		if err == nil && time.Since(born) < time.Minute {
			err = errors.New("made at " + text)
		}
		return err
	})
	if restarts := b.kubectl(t, "-n", "weft-system", "get", "pod", agent, "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the agent %s was restarted %s times", agent, restarts)
	}
}

// withControllers ends it. The controller manager gives up if the API goes away while it starts, as it does next.
func withControllers(t *testing.T, b *bed, n *kube.Node) {
	b.Plane().StopControllers()
	must(t, b.Plane().StartControllers())
	b.follows(t, n)
}

// Whatever keeps a node from being connected is said in one sentence, with the remedy, and the remedy is enough.
func TestFailures(t *testing.T) {
	b := &bed{Cluster: up(t, kube.Setup{Proxy: "nftables"})}
	manifest, err := b.Manifest(root)
	must(t, err)
	const rolling = "    rollingUpdate:\n      maxUnavailable: 1\n    type: RollingUpdate\n"
	manifest = edited(t, manifest, rolling, "    type: OnDelete\n") // an agent is started again where the test says
	must(t, b.Install(t.Context(), manifest))
	n := b.Nodes[1]
	for _, f := range failures() {
		ok := t.Run(f.name, func(t *testing.T) {
			if f.cause != nil {
				f.cause(t, b, n)
			} else {
				must(t, b.Apply(t.Context(), edited(t, manifest, f.from, f.to)))
			}
			if f.renew {
				b.renew(t, n)
			}
			b.tells(t, n, f)
			if f.lasts != nil {
				f.lasts(t, b, n)
			}
			must(t, b.Apply(t.Context(), manifest))
			if f.remedy != nil {
				f.remedy(t, b, n)
			}
			if f.renew {
				b.renew(t, n)
			}
			b.awaitAgents(t)
			b.tells(t, n, failure{says: "weftd has connected this node to its peers", not: []place{inLogs, inStatus}})
			b.ready(t, n)
		})
		if !ok {
			t.FailNow() // the next one would be about this one
		}
	}
	t.Run("no API", func(t *testing.T) { b.withoutAPI(t, n) })
	b.works(t, n)
}

// edited is a manifest with something else in it.
func edited(t *testing.T, manifest, from, to string) string {
	t.Helper()
	if !strings.Contains(manifest, from) {
		t.Fatalf("the manifest has no %q", from)
	}
	return strings.Replace(manifest, from, to, 1)
}

// agent is the name of the pod of the newest agent on a node.
func (b *bed) agent(t *testing.T, n *kube.Node) string {
	t.Helper()
	names := strings.Fields(b.kubectl(t, "-n", "weft-system", "get", "pods", "--field-selector=spec.nodeName="+n.Name(),
		"--sort-by=.metadata.creationTimestamp", "-o", "jsonpath={.items[*].metadata.name}"))
	if len(names) == 0 {
		return "none"
	}
	return names[len(names)-1]
}

// renew replaces the agent on a node by one that remembers nothing.
func (b *bed) renew(t *testing.T, n *kube.Node) {
	t.Helper()
	for _, do := range []func(){func() {}, func() { b.kubectl(t, "-n", "weft-system", "delete", "pod", b.agent(t, n)) }} {
		do() // the old one may save again before it ends
		_, err := n.Run("sh", "-c", "rm -f /var/lib/weft/*")
		must(t, err)
	}
}

// tells waits until a failure is told in all places.
func (b *bed) tells(t *testing.T, n *kube.Node, f failure) {
	t.Helper()
	for _, p := range []place{inDescribe, inEvents, inLogs, inStatus} {
		if slices.Contains(f.not, p) {
			continue
		}
		said := ""
		eventually(t, string(p)+" to say "+f.says, func() error {
			text, err := b.look(t, n, p)
			for line := range strings.Lines(strings.ReplaceAll(text, `\"`, `"`)) {
				if strings.Contains(line, f.says) {
					said = line
					return nil
				}
			}
			return errors.Join(err, errors.New("it says "+text))
		})
		t.Logf("%s: %s", p, said)
	}
}

// look is what one sees in a place.
func (b *bed) look(t *testing.T, n *kube.Node, p place) (string, error) {
	t.Helper()
	agent := "none"
	if p == inLogs || p == inStatus {
		agent = b.agent(t, n)
	}
	return b.Kubectl(t.Context(), map[place][]string{
		inDescribe: {"describe", "node", n.Name()},
		inEvents:   {"get", "events", "-n", "default"},
		inLogs:     {"-n", "weft-system", "logs", agent},
		inStatus:   {"-n", "weft-system", "exec", agent, "--", "weftctl", "status"},
	}[p]...)
}

// withoutAPI has an agent start without the API and without a memory. kubectl cannot help then; the node's own files and weftctl can.
func (b *bed) withoutAPI(t *testing.T, n *kube.Node) {
	b.Plane().StopAPI()
	_, err := n.Run("sh", "-c", "rm -f /var/lib/weft/*; pkill -KILL -x weftd")
	must(t, err)
	weftctl := filepath.Join(filepath.Dir(parts(t).Pod), "bin", "weftctl")
	const says = "(Kubernetes API at https://10.96.0.1:443): dial tcp 10.96.0.1:443: connect: connection refused: is it running, and reachable from here?"
	for what, command := range map[string]string{"log": "tail -n 20 /var/log/pods/weft-system_*/weft/*.log", "status": weftctl + " status",
		"plugin": "cat /run/flannel/subnet.env.waiting"} {
		eventually(t, what+" to say "+says, func() error {
			out, err := n.Run("sh", "-c", command)
			if !strings.Contains(strings.ReplaceAll(out, `\"`, `"`), says) {
				return errors.Join(err, errors.New(out))
			}
			return nil
		})
	}
	must(t, b.Plane().StartAPI(t.Context()))
	b.awaitAgents(t)
}
