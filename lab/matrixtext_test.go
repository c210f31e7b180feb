package lab

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMatrixPrint(t *testing.T) {
	m := Matrix{
		From: []string{"node1a", "node2a", "node1"}, To: []string{"node1a", "node2a"},
		Families: subnet.Families[:],
	}
	silent := errors.New("no answer from 10.244.2.2 to 84 bytes")
	for _, f := range m.Families {
		m.Checks = append(m.Checks,
			Check{Answer, f, "node1a", "node2a", 84, 250 * time.Microsecond, nil},
			Check{Answer, f, "node2a", "node1a", 84, 12 * time.Millisecond, nil},
			Check{Answer, f, "node1", "node1a", 84, 40 * time.Microsecond, nil},
			Check{Answer, f, "node1", "node2a", 84, 0, silent},
			Check{FullSize, f, "node1a", "node2a", 1450, 300 * time.Microsecond, nil},
			Check{FullSize, f, "node2a", "node1a", 1450, 350 * time.Microsecond, nil},
			Check{Source, f, "node1a", "node2a", 0, time.Millisecond, nil},
			Check{Outside, f, "node1a", "outside", 0, 0, errors.New("outside sees 10.244.1.2 as the source, not 172.18.0.10")},
		)
	}
	var got strings.Builder
	if err := m.Print(&got); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/matrix.txt", got.String())
	if err := m.Err(); !errors.Is(err, silent) || !strings.HasPrefix(err.Error(), "4 of 16 checks failed, the first: answers, IPv4, node1 to node2a: ") {
		t.Errorf("error %v", err)
	}
}

// golden compares with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestMatrixErr(t *testing.T) {
	if err := (Matrix{Checks: []Check{{Kind: Answer}}}).Err(); err != nil {
		t.Errorf("a matrix without failures: %v", err)
	}
}
