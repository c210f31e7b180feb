package kube

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// full is a Node with something in every place that Weft reads, and in many that it does not.
func full() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "node-1", UID: "7c0b4d6e", ResourceVersion: "4711", Generation: 3,
			CreationTimestamp: metav1.NewTime(time.Unix(1_790_000_000, 0)),
			Labels:            map[string]string{"kubernetes.io/hostname": "node-1"},
			Annotations: map[string]string{
				"flannel.alpha.coreos.com/kube-subnet-manager": "true",
				"flannel.alpha.coreos.com/backend-type":        "vxlan",
				"example.org/public-ip":                        "192.0.2.1",
				"example.org/nothing-of-ours":                  "a long text",
				metav1.InitialEventsAnnotationKey:              "true",
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet", FieldsV1: &metav1.FieldsV1{}}},
		},
		Spec: corev1.NodeSpec{PodCIDR: "10.5.1.0/24", PodCIDRs: []string{"10.5.1.0/24", "fd00:5:0:1::/64"}, Unschedulable: true,
			Taints: []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "node-1"}, {Type: corev1.NodeInternalIP, Address: "192.168.0.1"}},
			Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
				{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "ready", LastHeartbeatTime: metav1.Now()},
				{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionFalse, Reason: "FlannelIsUp"},
			},
			Images: []corev1.ContainerImage{{Names: []string{"registry.k8s.io/pause:3.10"}, SizeBytes: 700_000}},
		},
	}
}

// wanted is what Weft reads of a Node, taken from the API's own type.
func wanted(n *corev1.Node) Node {
	w := Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, ResourceVersion: n.ResourceVersion, CreationTimestamp: n.CreationTimestamp},
		Spec:       NodeSpec{PodCIDR: n.Spec.PodCIDR, PodCIDRs: n.Spec.PodCIDRs},
	}
	for key, value := range n.Annotations {
		if key != "example.org/nothing-of-ours" {
			metav1.SetMetaDataAnnotation(&w.ObjectMeta, key, value)
		}
	}
	for _, a := range n.Status.Addresses {
		w.Status.Addresses = append(w.Status.Addresses, NodeAddress{string(a.Type), a.Address})
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady || c.Type == corev1.NodeNetworkUnavailable {
			w.Status.Conditions = append(w.Status.Conditions, NodeCondition{string(c.Type), string(c.Status), c.Reason, c.Message})
		}
	}
	return w
}

// TestNodeIsDecoded compares what is read of a Node with the API's own type, from its protobuf.
func TestNodeIsDecoded(t *testing.T) {
	for name, in := range map[string]*corev1.Node{"full": full(), "empty": {}, "name": {ObjectMeta: metav1.ObjectMeta{Name: "n"}}} {
		t.Run(name, func(t *testing.T) {
			text, err := in.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			got := Node{Spec: NodeSpec{PodCIDR: "what was there before"}}
			got.Reset()
			if err := got.Unmarshal(text); err != nil {
				t.Fatal(err)
			}
			for i := range text {
				text[i] = 0xff // whoever gave the buffer uses it again
			}
			if diff := cmp.Diff(wanted(in), got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Node (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListIsDecoded(t *testing.T) {
	in := corev1.NodeList{ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more"}, Items: []corev1.Node{*full(), *full()}}
	in.Items[1].Name = "node-2"
	text, err := in.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var got NodeList
	if err := got.Unmarshal(text); err != nil {
		t.Fatal(err)
	}
	want := NodeList{ListMeta: in.ListMeta, Items: []Node{wanted(&in.Items[0]), wanted(&in.Items[1])}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

// TestObjectsAreKnown sends objects through the codec that the client has, in both of its languages.
func TestObjectsAreKnown(t *testing.T) {
	theirs := runtime.NewScheme()
	if err := corev1.AddToScheme(theirs); err != nil {
		t.Fatal(err)
	}
	for _, info := range codecs().SupportedMediaTypes() {
		if info.MediaType != protobuf && info.MediaType != "application/json" {
			continue
		}
		t.Run(info.MediaType, func(t *testing.T) {
			in := full()
			in.APIVersion, in.Kind = "v1", "Node"
			text, err := runtime.Encode(info.Serializer, in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runtime.Decode(codecs().UniversalDeserializer(), text)
			n, ok := got.(*Node)
			if err != nil || !ok {
				t.Fatalf("decoded %T, %v", got, err)
			}
			if n.Name != "node-1" || len(n.Spec.PodCIDRs) != 2 || n.condition("Ready").Status != "True" {
				t.Errorf("decoded %+v", n)
			}
			if c := n.DeepCopyObject().(*Node); c == n || c.Name != n.Name {
				t.Errorf("copy %+v", c)
			}
		})
	}
}

// FuzzNode feeds anything to the decoder: it must not panic, and what the API's own type reads as well must be read in
// the same way.
func FuzzNode(f *testing.F) {
	text, err := full().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{0x1a, 0x02, 0x22, 0x00})
	f.Fuzz(func(t *testing.T, text []byte) {
		var got Node
		err := got.Unmarshal(text)
		var list NodeList
		_ = list.Unmarshal(text)
		var theirs corev1.Node
		if theirs.Unmarshal(text) != nil || err != nil {
			return
		}
		if got.Name != theirs.Name || got.ResourceVersion != theirs.ResourceVersion || fmt.Sprint(got.Spec.PodCIDRs) != fmt.Sprint(theirs.Spec.PodCIDRs) {
			t.Errorf("read %q %q %q: the API's own type reads %q %q %q", got.Name, got.ResourceVersion, got.Spec.PodCIDRs,
				theirs.Name, theirs.ResourceVersion, theirs.Spec.PodCIDRs)
		}
	})
}

// BenchmarkNode reads a Node of a usual size, as each heartbeat of each node makes every agent do, and reads it as the
// API's own type for comparison.
func BenchmarkNode(b *testing.B) {
	n := full()
	for i := range 50 {
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprint("registry.example.org/image@sha256:", i), fmt.Sprint("registry.example.org/image:", i)}})
	}
	text, err := n.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"ours":   func() error { var got Node; return got.Unmarshal(text) },
		"theirs": func() error { var got corev1.Node; return got.Unmarshal(text) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
