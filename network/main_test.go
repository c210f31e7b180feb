package network

import (
	"context"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/engine/child/childtest"
	"github.com/weft-network/weft/network/engine/wireguard"
)

// TestMain is also the program of the process that encrypts packets.
func TestMain(m *testing.M) { childtest.Main(m, wireguard.Serve) }

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// withEngines gives each node WireGuard for kernels that have none, from its next start on.
func withEngines(t *testing.T, c *nodes) {
	t.Helper()
	for i := range c.options {
		e := wireguard.New(t.TempDir(), childtest.Command(), quiet())
		t.Cleanup(func() {
			if err := e.End(context.Background()); err != nil {
				t.Error(err)
			}
		})
		c.options[i].Engines = []Engine{e}
	}
}
