package wire_test

import (
	"strings"
	"testing"

	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd"
	"github.com/weft-network/weft/subnet/kube"
)

func TestStores(t *testing.T) {
	both := wire.Stores{Kube: kube.Options{Node: "n"}, Etcd: etcd.Options{Endpoints: []string{"http://127.0.0.1:2379"}}}
	for _, tt := range []struct {
		kubernetes bool
		kind       string
		reports    bool // it wants to know how the node is
	}{{false, "etcd", false}, {true, "kubernetes", true}} {
		both.Kubernetes = tt.kubernetes
		s, kind, err := both.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, reports := s.(subnet.Reporter); kind != tt.kind || reports != tt.reports {
			t.Errorf("got %q, which reports: %t", kind, reports)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for kubernetes, want := range map[bool]string{false: "no etcd endpoint", true: "name of this node"} {
		_, _, err := wire.Stores{Kubernetes: kubernetes}.Open()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
