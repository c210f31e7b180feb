package wireguard_test

import (
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/backendtest"
	"github.com/weft-network/weft/backend/wireguard"
)

func TestGolden(t *testing.T) {
	backendtest.Golden(t, func(_, config string) (backend.Backend, []string, error) { return wireguard.New(config) })
}
