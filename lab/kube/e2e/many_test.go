package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weft-network/weft/lab/kube"
)

// usable is how many pods a /24 has addresses for: all but its own, the bridge's and the broadcast address.
const usable = 253

// TestManyPods fills the subnet of a node and empties it again, and in both containerd crashes. Most of the pods are a
// sandbox without a container, whose image does not exist: to the pod network there is no difference, and to the machine it is
// half the work.
func TestManyPods(t *testing.T) {
	c := installed(t, kube.Setup{Nodes: 1, Proxy: "nftables"})
	n := c.Nodes[0]
	before := leftovers(t, n)
	witness, other := &kube.Pod{Name: "witness", Node: n, HostPort: 8070}, &kube.Pod{Name: "other", Node: n}
	must(t, c.RunPods(t.Context(), witness, other))
	// Not packets one by one: a broadcast to 250 pods at once can fill the kernel's queue of a processor, whatever else is in it.
	talking := newStream(t, witness, other)

	must(t, c.Apply(t.Context(), manyPods(usable-2)))
	eventually(t, "many pods", func() error { return holds(n, 80) })
	crash(t, n)
	for _, count := range []int{120, 160, 200, usable} { // each within the time that a step may take
		eventually(t, fmt.Sprint(count, " pods"), func() error { return holds(n, count) })
	}
	eventually(t, "all pods to have their addresses", func() error { return addressed(t, c, usable) })

	must(t, c.Apply(t.Context(), podManifest("late", n.Name())))
	eventually(t, "the pod to say why it does not start", func() error {
		return eventSays(t, c, "pod", "late", "every address of this node's subnet 10.244.0.0/24 is held by a pod")
	})
	must(t, holds(n, usable))

	_, err := c.Kubectl(t.Context(), "scale", "rs/many", "--replicas=200")
	must(t, err)
	_, err = c.Kubectl(t.Context(), "wait", "--for=condition=Ready", inTime(), "pod/late")
	must(t, err)

	_, err = c.Kubectl(t.Context(), "delete", "rs/many", "pod/late", "--wait=false")
	must(t, err)
	eventually(t, "pods to go", func() error { return holdsAtMost(n, 160) })
	crash(t, n)
	for _, count := range []int{100, 50, 2} {
		eventually(t, fmt.Sprint(count, " pods"), func() error { return holdsAtMost(n, count) })
	}
	talking.end(t)
	must(t, errors.Join(reaches(witness, other), reaches(other, witness)))
	must(t, c.DeletePods(t.Context(), witness, other))
	eventually(t, "the node to hold what it held before", func() error {
		// Of a pod that it was about to make when it was killed, containerd forgets the namespace, in which nothing is yet.
		now := slices.DeleteFunc(leftovers(t, n), func(line string) bool { return strings.HasPrefix(line, "empty ") })
		return differ(cmp.Diff(before, now, cmpopts.EquateEmpty()))
	})
}

// crash kills containerd and starts it again.
func crash(t *testing.T, n *kube.Node) {
	t.Helper()
	n.Containerd.Stop(syscall.SIGKILL)
	must(t, n.Containerd.Start(t.Context()))
}

// manyPods are pods without containers.
func manyPods(count int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: many}
spec:
  replicas: %d
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      nodeName: node1
      terminationGracePeriodSeconds: 0
      automountServiceAccountToken: false
      enableServiceLinks: false
      containers: [{name: none, image: docker.io/weft-lab/none, imagePullPolicy: Never}]
`, count)
}

// holds tells whether so many addresses are held.
func holds(n *kube.Node, want int) error {
	list, err := holders(n)
	if err == nil && len(list) < want {
		err = fmt.Errorf("%d addresses are held, not %d", len(list), want)
	}
	return err
}

// holdsAtMost tells whether no more addresses are held.
func holdsAtMost(n *kube.Node, most int) error {
	list, err := holders(n)
	if err == nil && len(list) > most {
		err = fmt.Errorf("%d addresses are held, more than %d", len(list), most)
	}
	return err
}

// addressed tells whether so many pods have an address each that no other has.
func addressed(t *testing.T, c *kube.Cluster, want int) error {
	t.Helper()
	out, err := c.Kubectl(t.Context(), "get", "pods", "-o", `jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}`)
	if err != nil {
		return err
	}
	pods := strings.Fields(out)
	slices.Sort(pods)
	if got := len(slices.Compact(pods)); got != want || len(pods) != want {
		return fmt.Errorf("%d pods have %d addresses, want %d", len(pods), got, want)
	}
	return nil
}
