package alloc_test

import (
	"testing"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/backend/alloc"
	"github.com/weft-network/weft/backend/backendtest"
)

func TestGolden(t *testing.T) {
	backendtest.Golden(t, func(_, config string) (backend.Backend, []string, error) { return alloc.New(config) })
}
