package child_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/weft-network/weft/network/engine/child"
)

// TestMain is also the program of the child: it says what it is told, ends when it is told "end", and has something to tell at "ring".
func TestMain(m *testing.M) {
	if len(os.Args) != 2 || os.Args[1] != "child" {
		os.Exit(m.Run())
	}
	l, err := child.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var k keeper
	if err := k.server.Run(context.Background(), l, &k); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// keeper keeps nothing, and is not without use for that.
type keeper struct{ server child.Server }

func (k *keeper) Answer(request json.RawMessage) any {
	var text string
	json.Unmarshal(request, &text)
	switch text {
	case "end":
		k.server.End()
	case "ring":
		k.server.Changed()
	case "pid":
		return fmt.Sprint(os.Getpid())
	}
	return text
}

func (*keeper) IsEmpty() bool { return false }

func (*keeper) Close() {}
