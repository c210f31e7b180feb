package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/lab/kube"
	"github.com/weft-network/weft/subnet"
)

// TestAttach is the CNI as a kubelet and containerd use it, on a cluster of both families.
func TestAttach(t *testing.T) {
	a := &attachment{Cluster: installed(t, kube.Setup{Families: subnet.Families[:], Proxy: "nftables"})}
	for _, n := range a.Nodes {
		a.before = append(a.before, leftovers(t, n))
	}
	for _, s := range []struct {
		name string
		test func(*testing.T, *attachment)
	}{
		{"status", testNotReady}, {"loopback", testLoopback}, {"hostPort", testHostPort}, {"bandwidth", testBandwidth},
		{"restart", testPodRestart}, {"drain", testDrain}, {"gc", testGC},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(t, a) })
		for i, n := range a.Nodes {
			leaves(t, n, a.before[i])
		}
	}
}

// attachment is the cluster, with what its nodes held before there were pods.
type attachment struct {
	*kube.Cluster
	before [][]string
}

// run makes pods that end with the test.
func (a *attachment) run(t *testing.T, pods ...*kube.Pod) {
	t.Helper()
	must(t, a.RunPods(t.Context(), pods...))
	t.Cleanup(func() {
		if err := a.DeletePods(context.Background(), pods...); err != nil {
			t.Error(err)
		}
	})
}

// readiness is the condition Ready of a Node in one line.
func readiness(t *testing.T, c *kube.Cluster, n *kube.Node) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), "get", "node", n.Name(), "-o",
		`jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.reason} {.message}{end}`)
	must(t, err)
	return out
}

// testNotReady takes subnet.env away while weftd stands still: STATUS fails, and the kubelet says why in the Node and to the
// pods that it cannot start.
func testNotReady(t *testing.T, a *attachment) {
	n := a.Nodes[0]
	run := func(script string) {
		t.Helper()
		_, err := n.Run("sh", "-c", script)
		must(t, err)
	}
	t.Cleanup(func() { _, _ = n.Run("pkill", "-CONT", "-x", "weftd") }) // it runs already where the test did not fail

	const why = "this node has no subnet for pods; /run/flannel/subnet.env does not exist; weftd writes it: see whether it runs and what it says"
	freeze := func() { run("pkill -STOP -x weftd; rm -f /run/flannel/subnet.env") } // again and again: a probe has another one started
	eventually(t, "the Node to say why it is not ready", func() error {
		freeze()
		if r := readiness(t, a.Cluster, n); !strings.HasPrefix(r, "False KubeletNotReady ") || !strings.Contains(r, "NetworkReady=false") || !strings.Contains(r, why) {
			return fmt.Errorf("condition Ready: %s", r)
		}
		return nil
	})
	must(t, a.Apply(t.Context(), podManifest("early", n.Name())))
	eventually(t, "the pod to say why it does not start", func() error {
		freeze()
		return a.eventSays(t, "pod", "early", why)
	})

	run("pkill -CONT -x weftd")
	_, err := a.Kubectl(t.Context(), "wait", "--for=condition=Ready", inTime(), "node/"+n.Name(), "pod/early")
	must(t, err)
	_, err = a.Kubectl(t.Context(), "delete", "pod", "early")
	must(t, err)
}

// podManifest is a pod that serves, on a node.
func podManifest(name, node string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  tolerations: [{operator: Exists}]
  containers: [{name: pod, image: %s, imagePullPolicy: Never}]
`, name, node, kube.PodImage)
}

// eventSays looks for words in the events about an object of the namespace default.
func (a *attachment) eventSays(t *testing.T, kind, name, words string) error {
	t.Helper()
	return eventSays(t, a.Cluster, kind, name, words)
}

func eventSays(t *testing.T, c *kube.Cluster, kind, name, words string) error {
	t.Helper()
	out, err := c.Kubectl(t.Context(), "events", "--for", kind+"/"+name)
	if err == nil && !strings.Contains(out, words) {
		err = fmt.Errorf("no event of %s %s says %q, but these do:\n%s", kind, name, words, out)
	}
	return err
}

// testLoopback holds that programs of one pod reach each other by loopback.
func testLoopback(t *testing.T, a *attachment) {
	p := &kube.Pod{Name: "alone", Node: a.Nodes[0]}
	a.run(t, p)
	for _, lo := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		eventually(t, lo.String(), func() error {
			out, err := p.Run("pod", "get", "http://"+netip.AddrPortFrom(lo, podPort).String())
			if err == nil && !strings.HasPrefix(out, "alone ") {
				err = errors.New(out)
			}
			return err
		})
	}
}

// testHostPort asks for a pod at a port of its node.
func testHostPort(t *testing.T, a *attachment) {
	p := &kube.Pod{Name: "published", Node: a.Nodes[0], HostPort: 8070}
	here, there := &kube.Pod{Name: "here", Node: a.Nodes[0]}, &kube.Pod{Name: "there", Node: a.Nodes[1]}
	a.run(t, p, here, there)
	for _, f := range subnet.Families {
		url := "http://" + netip.AddrPortFrom(a.Nodes[0].Addr(f), 8070).String()
		for from, ask := range map[string]func(url string) (string, error){
			"outside":          fromHere,
			"the node":         func(url string) (string, error) { return a.Nodes[0].Run("pod", "get", url) },
			"the other node":   func(url string) (string, error) { return a.Nodes[1].Run("pod", "get", url) },
			"the pod itself":   func(url string) (string, error) { return p.Run("pod", "get", url) },
			"a pod beside it":  func(url string) (string, error) { return here.Run("pod", "get", url) },
			"a pod over there": func(url string) (string, error) { return there.Run("pod", "get", url) },
		} {
			if out, err := ask(url); err != nil || !strings.HasPrefix(out, "published ") {
				t.Errorf("%s, asked from %s: %q, %v", url, from, out, err)
			}
		}
	}
	if out, err := a.Nodes[0].Run("pod", "get", "http://127.0.0.1:8070"); err != nil || !strings.HasPrefix(out, "published ") {
		t.Errorf("loopback of the node: %q, %v", out, err)
	}
}

// fromHere asks from the far side of the nodes' router.
func fromHere(url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	var out strings.Builder
	err = r.Write(&out)
	_, text, _ := strings.Cut(out.String(), "\r\n\r\n")
	return text, err
}

// testBandwidth asks for limits, and looks for them in the kernel.
func testBandwidth(t *testing.T, a *attachment) {
	p := &kube.Pod{Name: "slow", Node: a.Nodes[0],
		Annotations: map[string]string{"kubernetes.io/ingress-bandwidth": "8M", "kubernetes.io/egress-bandwidth": "16M"}}
	a.run(t, p)
	out, err := a.Nodes[0].Run("tc", "qdisc", "show")
	must(t, err)
	var got []string
	for _, m := range regexp.MustCompile(`qdisc tbf .* dev (veth|bwp).* rate (\S+)`).FindAllStringSubmatch(out, -1) {
		got = append(got, m[1]+" "+m[2])
	}
	if diff := cmp.Diff([]string{"bwp 16Mbit", "veth 8Mbit"}, slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("limits (-want +got):\n%s%s", diff, out)
	}
}

// testPodRestart kills everything in a pod, as the kernel may for want of memory: the kubelet makes it again, with other
// addresses.
func testPodRestart(t *testing.T, a *attachment) {
	n := a.Nodes[0]
	p, other := &kube.Pod{Name: "restarted", Node: n}, &kube.Pod{Name: "there", Node: a.Nodes[1]}
	a.run(t, p, other)
	was := p.Addrs
	held := leftovers(t, n)
	_, err := n.Run("sh", "-c", `for space in /run/netns/*; do
		ip netns exec ${space##*/} ip -o address | grep -q ' `+was[subnet.Inet].String()+`/' && kill -9 $(ip netns pids ${space##*/})
	done; exit 0`)
	must(t, err)
	eventually(t, "the pod to come back", func() error {
		if err := a.Look(t.Context(), p); err != nil {
			return err
		}
		if p.Addrs == was {
			return errors.New("it has its old addresses")
		}
		return errors.Join(reaches(p, other), reaches(other, p))
	})
	eventually(t, "the old sandbox to be gone", func() error {
		now := leftovers(t, n)
		for _, kind := range []string{"address", "record", "result", "namespace", "device"} {
			if count(now, kind) != count(held, kind) {
				return differ(cmp.Diff(held, now))
			}
		}
		return nil
	})
}

// testDrain empties a node, and lets pods in again.
func testDrain(t *testing.T, a *attachment) {
	n := a.Nodes[1]
	must(t, a.Apply(t.Context(), spread))
	defer func() {
		_, err := a.Kubectl(t.Context(), "delete", "deployment", "spread", "--cascade=foreground", inTime())
		must(t, err)
	}()
	rollout := func() {
		t.Helper()
		_, err := a.Kubectl(t.Context(), "rollout", "status", "deployment/spread", inTime())
		must(t, err)
	}
	rollout()
	if count(leftovers(t, n), "record") == 0 {
		t.Errorf("no pod is on %s", n.Name())
	}
	_, err := a.Kubectl(t.Context(), "drain", n.Name(), "--ignore-daemonsets", inTime())
	must(t, err)
	leaves(t, n, a.before[1])
	rollout()
	_, err = a.Kubectl(t.Context(), "uncordon", n.Name())
	must(t, err)
	here, there := &kube.Pod{Name: "here", Node: a.Nodes[0]}, &kube.Pod{Name: "there", Node: n}
	a.run(t, here, there)
	must(t, errors.Join(reaches(here, there), reaches(there, here)))
}

// spread is a Deployment with pods on every node.
const spread = `apiVersion: apps/v1
kind: Deployment
metadata: {name: spread}
spec:
  replicas: 4
  selector: {matchLabels: {app: spread}}
  template:
    metadata: {labels: {app: spread}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: spread}}}]
      containers: [{name: pod, image: ` + kube.PodImage + `, imagePullPolicy: Never}]
`
