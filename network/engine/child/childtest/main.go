// Package childtest makes a test binary the process that an engine starts, beside the tests themselves.
package childtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/engine/child"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

// arg is the first argument of the process.
const arg = "mover"

// Command starts the process.
func Command() []string { return []string{"/proc/self/exe", arg} }

// Main runs the tests as kerneltest.Main does, and in the process that Command starts run instead. It does not return.
func Main(m *testing.M, run func(ctx context.Context, l net.Listener, log logrus.FieldLogger) error) {
	if len(os.Args) < 2 || os.Args[1] != arg {
		kerneltest.Main(m)
	}
	l, err := child.Inherited()
	if err == nil {
		log := logrus.New()
		log.SetOutput(io.Discard)
		err = run(context.Background(), l, log)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
