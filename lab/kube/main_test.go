package kube

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// TestMain builds Kubernetes where there is a network, and then runs the tests where there is none but loopback.
func TestMain(m *testing.M) {
	if _, err := Binaries(context.Background(), "kubebin"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	kerneltest.Main(m)
}
