package peer

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// Annotations is what a Node announces for peer i, in flannel's form.
func Annotations(i int) map[string]string {
	m := MAC(i)
	const prefix = "flannel.alpha.coreos.com/"
	return map[string]string{
		prefix + "kube-subnet-manager": "true",
		prefix + "backend-type":        "vxlan",
		prefix + "public-ip":           netip.AddrFrom4(Public(i)).String(),
		prefix + "backend-data":        fmt.Sprintf(`{"VNI":1,"VtepMAC":"%02x:%02x:%02x:%02x:%02x:%02x"}`, m[0], m[1], m[2], m[3], m[4], m[5]),
	}
}

// NodeName is the name of the Node of peer i.
func NodeName(i int) string { return fmt.Sprintf("worker-%05d.example.org", i) }

type object = map[string]any

// Node is the Node of peer i in JSON, as large as Nodes are in a cluster in use.
func Node(i int) []byte {
	notes := Annotations(i)
	notes["node.alpha.kubernetes.io/ttl"] = "0"
	notes["volumes.kubernetes.io/controller-managed-attach-detach"] = "true"
	return marshal(node(NodeName(i), notes, netip.PrefixFrom(netip.AddrFrom4(Gateway(i)), 24), netip.AddrFrom4(Public(i)), fmt.Sprint(i)))
}

// BareNode is a Node that has announced nothing, as its kubelet makes it.
func BareNode(name string, pods netip.Prefix, address netip.Addr) []byte {
	return marshal(node(name, nil, pods, address, name))
}

func node(name string, notes map[string]string, pods netip.Prefix, address netip.Addr, id string) object {
	resources := object{"cpu": "16", "memory": "65780352Ki", "pods": "110", "ephemeral-storage": "102626232Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0"}
	return object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": object{"name": name, "annotations": notes, "labels": object{
			"beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
			"kubernetes.io/hostname": name, "node.kubernetes.io/instance-type": "m7.4xlarge", "topology.kubernetes.io/region": "eu-example-1",
			"topology.kubernetes.io/zone": "eu-example-1b", "node-role.kubernetes.io/worker": "", "example.org/pool": "general"}},
		"spec": object{"podCIDR": pods.String(), "podCIDRs": []string{pods.String()}, "providerID": "example:///eu-example-1b/i-" + id},
		"status": object{
			"addresses": []object{{"type": "InternalIP", "address": address.String()}, {"type": "Hostname", "address": name}},
			"capacity":  resources, "allocatable": resources,
			"conditions": conditions("2026-01-01T00:00:00Z"),
			"images":     images(),
			"nodeInfo": object{"architecture": "amd64", "bootID": "b1a0c5a2-0000-4000-8000-" + id, "containerRuntimeVersion": "containerd://2.1.4",
				"kernelVersion": "6.12.41-amd64", "kubeProxyVersion": "", "kubeletVersion": "v1.37.0", "machineID": "ec2a8f3d00004000", "operatingSystem": "linux",
				"osImage": "Debian GNU/Linux 13 (trixie)", "systemUUID": "ec2a8f3d-0000-4000-8000-" + id},
			"daemonEndpoints": object{"kubeletEndpoint": object{"Port": 10250}},
		},
	}
}

// conditions are what a kubelet reports at a time.
func conditions(at string) []object {
	var list []object
	for _, c := range [][4]string{
		{"MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
		{"DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
		{"PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
		{"Ready", "True", "KubeletReady", "kubelet is posting ready status"},
	} {
		list = append(list, object{"type": c[0], "status": c[1], "reason": c[2], "message": c[3],
			"lastHeartbeatTime": at, "lastTransitionTime": "2026-01-01T00:00:00Z"})
	}
	return list
}

// images are what a node has pulled. A kubelet reports up to 50.
func images() []object {
	var list []object
	for i := range 30 {
		name := fmt.Sprintf("registry.example.org/team-%d/service-%d", i%7, i)
		list = append(list, object{"names": []string{fmt.Sprintf("%s@sha256:%064x", name, 1+i), name + ":v1.24.3"}, "sizeBytes": 48213345 + i})
	}
	return list
}

// Heartbeat is the patch of a Node's status with which a kubelet says that it is alive.
func Heartbeat(at string) []byte {
	return marshal(object{"status": object{"conditions": conditions(at)}})
}

// marshal cannot fail: there is nothing in an object that has no form in JSON.
func marshal(o object) []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return text
}
