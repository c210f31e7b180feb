package udp_test

import (
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/backendtest"
	"github.com/weft-network/weft/backend/udp"
)

func TestGolden(t *testing.T) {
	backendtest.Golden(t, func(_, config string) (backend.Backend, []string, error) { return udp.New(config) })
}
