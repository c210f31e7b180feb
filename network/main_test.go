package network

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/engine/child"
	"github.com/weft-network/weft/network/engine/wireguard"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// moverArg makes the test binary the process that encrypts packets.
const moverArg = "mover"

func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != moverArg {
		kerneltest.Main(m)
	}
	l, err := child.Inherited()
	if err == nil {
		err = wireguard.Serve(context.Background(), l, quiet())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// withEngines gives each node WireGuard for kernels that have none, from its next start on.
func withEngines(t *testing.T, c *nodes) {
	t.Helper()
	for i := range c.options {
		e := wireguard.New(t.TempDir(), []string{"/proc/self/exe", moverArg}, quiet())
		t.Cleanup(func() {
			if err := e.End(context.Background()); err != nil {
				t.Error(err)
			}
		})
		c.options[i].Engines = []Engine{e}
	}
}
