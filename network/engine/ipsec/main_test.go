package ipsec

import (
	"fmt"
	"os"
	"testing"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// TestMain is also the program of a charon of the tests' own.
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != "charon" {
		kerneltest.Main(m)
	}
	if err := (&standIn{dir: os.Args[2]}).serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
