package masq

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestMain(m *testing.M) {
	// A fuzzing worker talks through files that would not survive going into other namespaces, and needs none.
	if slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzzworker") }) {
		os.Exit(m.Run())
	}
	kerneltest.Main(m)
}
