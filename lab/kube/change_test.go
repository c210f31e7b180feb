package kube

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dualPeer is what a Node of a dual-stack cluster says of itself, by family.
type dualPeer struct{ cidr, ip, mac [2]string }

// annotations are what its agent writes. A family without an address has none.
func (p dualPeer) annotations() object {
	m := object{prefix + "kube-subnet-manager": "true", prefix + "backend-type": "vxlan"}
	for f, names := range [2][2]string{{"public-ip", "backend-data"}, {"public-ipv6", "backend-v6-data"}} {
		m[prefix+names[0]], m[prefix+names[1]] = nil, nil
		if p.ip[f] != "" {
			m[prefix+names[0]], m[prefix+names[1]] = p.ip[f], fmt.Sprintf(`{"VNI":1,"VtepMAC":"%s"}`, p.mac[f])
		}
	}
	return m
}

// kernel is what there has to be for it, in the words of ip and bridge.
func (p dualPeer) kernel() []string {
	var lines []string
	for f, dev := range []string{"flannel.1", "flannel-v6.1"} {
		if p.ip[f] == "" {
			continue
		}
		via, _, _ := strings.Cut(p.cidr[f], "/")
		more := [2]string{" onlink", " metric 1024 onlink pref medium"}[f]
		lines = append(lines, dev+" route "+p.cidr[f]+" via "+via+more,
			dev+" neigh "+via+" lladdr "+p.mac[f]+" PERMANENT", dev+" fdb "+p.mac[f]+" dst "+p.ip[f]+" self permanent")
	}
	return lines
}

// make makes its Node.
func (p dualPeer) make(k *cluster, name string) {
	k.t.Helper()
	notes := p.annotations()
	for key, value := range notes {
		if value == nil {
			delete(notes, key)
		}
	}
	k.do("POST", "/api/v1/nodes", object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": name, "annotations": notes},
		"spec": object{"podCIDR": p.cidr[0], "podCIDRs": p.cidr[:]}})
}

// overlay is what the kernel has for peers, in the words of ip and bridge, in order.
func overlay(t *testing.T) []string {
	t.Helper()
	var lines []string
	for f, dev := range []string{"flannel.1", "flannel-v6.1"} {
		for what, command := range map[string]string{
			"route": [2]string{"ip -4", "ip -6"}[f] + " route show proto 87 dev " + dev,
			"neigh": [2]string{"ip -4", "ip -6"}[f] + " neigh show nud permanent dev " + dev,
			"fdb":   "bridge fdb show dev " + dev,
		} {
			for _, line := range lookUp(t, command) {
				lines = append(lines, dev+" "+what+" "+line)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// lookUp runs ip or bridge, and returns the lines that it prints; none where there is no such device.
func lookUp(t *testing.T, command string) (lines []string) {
	t.Helper()
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "does not exist") {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

// changes are the changes of the kernel that weftd has logged, less the first n: "put fdb flannel.1", in order.
func (a *agent) changes(n int) []string {
	lines := []string{}
	for _, m := range regexp.MustCompile(`msg="kernel: (put|dropped)" object="(\S+) .* dev (\S+) `).FindAllStringSubmatch(a.file(logName), -1) {
		lines = append(lines, strings.Join(m[1:], " "))
	}
	lines = lines[n:]
	slices.Sort(lines)
	return lines
}

// testPeerChanges changes one thing of a peer after the other, in a dual-stack cluster.
func testPeerChanges(k *cluster) {
	k.SetConfig(dual)
	uplink(k.t, "eth7", "192.168.0.1/24", "2001:db8::1/64")
	k.makeNode("node-1", "10.5.1.0/24", "fd00:5:0:1::/64")
	k.do("PATCH", "/api/v1/nodes/node-1/status", object{"status": object{"addresses": []object{
		{"type": "InternalIP", "address": "192.168.0.1"}, {"type": "InternalIP", "address": "2001:db8::1"}}}})
	peer := dualPeer{[2]string{"10.5.2.0/24", "fd00:5:0:2::/64"}, [2]string{"192.168.0.2", "2001:db8::2"}, [2]string{"0e:00:00:00:04:02", "0e:00:00:00:06:02"}}
	other := dualPeer{[2]string{"10.5.3.0/24", "fd00:5:0:3::/64"}, [2]string{"192.168.0.3", "2001:db8::3"}, [2]string{"0e:00:00:00:04:03", "0e:00:00:00:06:03"}}
	peer.make(k, "node-2")
	other.make(k, "node-3")
	a := k.run(k.weftd(), "node-1")
	k.until("subnet.env", func() bool { return a.file("subnet.env") != "" })

	wanted := func() []string { return slices.Sorted(slices.Values(append(peer.kernel(), other.kernel()...))) }
	if diff := cmp.Diff(wanted(), overlay(k.t)); diff != "" {
		k.t.Fatalf("kernel (-want +got):\n%s", diff)
	}
	const four, six = " flannel.1", " flannel-v6.1"
	for _, step := range []struct {
		name   string
		change func()
		again  bool     // the Node is deleted and made again
		want   []string // changes of the kernel
	}{
		{name: "IPv6 MAC", change: func() { peer.mac[1] = "0e:00:00:00:06:aa" }, want: []string{"dropped fdb" + six, "put fdb" + six, "put neigh" + six}},
		{name: "IPv6 address", change: func() { peer.ip[1] = "2001:db8::aa" }, want: []string{"put fdb" + six}},
		{name: "IPv4 MAC", change: func() { peer.mac[0] = "0e:00:00:00:04:aa" }, want: []string{"dropped fdb" + four, "put fdb" + four, "put neigh" + four}},
		{name: "IPv4 address", change: func() { peer.ip[0] = "192.168.0.170" }, want: []string{"put fdb" + four}},
		{name: "both pod CIDRs", again: true, change: func() { peer.cidr = [2]string{"10.5.170.0/24", "fd00:5:0:aa::/64"} }, want: []string{
			"dropped neigh" + six, "dropped neigh" + four, "dropped route" + six, "dropped route" + four, "put neigh" + six, "put neigh" + four, "put route" + six, "put route" + four}},
		{name: "IPv6 pod CIDR", again: true, change: func() { peer.cidr[1] = "fd00:5:0:bb::/64" }, want: []string{
			"dropped neigh" + six, "dropped route" + six, "put neigh" + six, "put route" + six}},
		{name: "IPv4 pod CIDR and address", again: true, change: func() { peer.cidr[0], peer.ip[0] = "10.5.187.0/24", "192.168.0.187" }, want: []string{
			"dropped neigh" + four, "dropped route" + four, "put fdb" + four, "put neigh" + four, "put route" + four}},
		{name: "no IPv6", change: func() { peer.ip[1] = "" }, want: []string{"dropped fdb" + six, "dropped neigh" + six, "dropped route" + six}},
		{name: "IPv6 again", change: func() { peer.ip[1] = "2001:db8::cc" }, want: []string{"put fdb" + six, "put neigh" + six, "put route" + six}},
	} {
		k.t.Run(step.name, func(t *testing.T) {
			before := len(a.changes(0))
			began := time.Now()
			step.change()
			if step.again {
				k.do("DELETE", "/api/v1/nodes/node-2", nil)
				peer.make(k, "node-2")
			} else {
				k.annotate("node-2", peer.annotations())
			}
			k.until("the kernel", func() bool { return cmp.Equal(wanted(), overlay(t)) })
			took := time.Since(began)
			if took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			k.until("the log", func() bool { return len(a.changes(before)) >= len(step.want) })
			t.Logf("in the kernel after %s", took.Round(time.Millisecond))
			if diff := cmp.Diff(step.want, a.changes(before)); diff != "" {
				t.Errorf("changes of the kernel (-want +got):\n%s", diff)
			}
		})
	}
	a.stop()
	b := k.run(k.weftd(), "node-1")
	k.until("subnet.env", func() bool { return b.file("subnet.env") != "" })
	if diff := cmp.Diff([]string{}, b.changes(0)); diff != "" {
		k.t.Errorf("changes of the kernel by a second agent (-want +got):\n%s", diff)
	}
}
