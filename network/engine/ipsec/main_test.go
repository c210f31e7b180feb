package ipsec

import (
	"testing"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
