package udp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/engine/child/childtest"
	"github.com/weft-network/weft/network/engine/udp"
	"github.com/weft-network/weft/network/kernel"
)

// TestMain is also the program of the processes that the tests start: one that moves packets, and an agent that may be killed.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "agent" {
		childtest.Main(m, udp.Move)
	}
	if err := agent(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// agent puts what it reads, says so and waits until it is killed.
func agent(dir string) error {
	var all []kernel.Datagram
	if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil {
		return err
	}
	var s kernel.State
	for _, d := range all {
		s.Datagrams.Add(d)
	}
	if err := newEngine(dir).Put(context.Background(), s); err != nil {
		return err
	}
	fmt.Println("done")
	select {}
}

func newEngine(dir string) *udp.Engine {
	return udp.New(dir, childtest.Command(), quiet())
}

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}
