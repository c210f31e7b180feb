package kube

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// Node is what Weft reads of a Node object, a tenth of it: a cluster's Nodes are most of what an agent would have in
// memory, and each heartbeat of each of them is one more to read. The field names are those of the API, for JSON; what
// the API server sends usually is protobuf, see decode.go.
type Node struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NodeSpec   `json:"spec,omitempty"`
	Status            NodeStatus `json:"status,omitempty"`
}

// NodeSpec is what the cluster has decided about a node.
type NodeSpec struct {
	PodCIDR  string   `json:"podCIDR,omitempty"`  // the first of PodCIDRs
	PodCIDRs []string `json:"podCIDRs,omitempty"` // one, or one of each family
}

// NodeStatus is what the node's kubelet and others report.
type NodeStatus struct {
	Addresses  []NodeAddress   `json:"addresses,omitempty"`
	Conditions []NodeCondition `json:"conditions,omitempty"`
}

// NodeAddress is one of a node's addresses.
type NodeAddress struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// NodeCondition is one judgement of a node.
type NodeCondition struct {
	Type    string `json:"type"`
	Status  string `json:"status"` // True, False, Unknown
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// NodeList is the answer to a request for all Nodes.
type NodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Node `json:"items"`
}

// condition returns the condition of a type; the zero one where nobody has reported it.
func (n *Node) condition(kind string) NodeCondition {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return NodeCondition{}
}

// DeepCopyObject makes Node a runtime.Object. The copy shares nothing that anybody changes.
func (n *Node) DeepCopyObject() runtime.Object {
	c := *n
	return &c
}

// DeepCopyObject makes NodeList a runtime.Object. The copy shares nothing that anybody changes.
func (l *NodeList) DeepCopyObject() runtime.Object {
	c := *l
	return &c
}

// codecs reads and writes the few kinds of objects that are spoken of with the API server. The API's own types for all
// kinds that there are would be several times the rest of weftd.
func codecs() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	version := schema.GroupVersion{Version: "v1"}
	scheme.AddKnownTypes(version, &Node{}, &NodeList{})
	metav1.AddToGroupVersion(scheme, version)
	return serializer.NewCodecFactory(scheme)
}
