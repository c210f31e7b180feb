package e2e

import (
	"testing"

	"github.com/weft-network/weft/lab/kube"
)

func TestUp(t *testing.T) {
	c := up(t, kube.Setup{})
	out, err := c.Kubectl(t.Context(), "get", "nodes", "-o", "wide")
	t.Log(out, err)
}
