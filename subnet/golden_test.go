package subnet_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite what the golden files in testdata want")

// golden runs do on the input of every pair in a txtar file, "name" and "name: want", and compares what it returns.
func golden(t *testing.T, path string, do func(input string) string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		in, want := archive.Files[i], &archive.Files[i+1]
		if want.Name != in.Name+": want" {
			t.Fatalf("%s: %q follows %q", path, want.Name, in.Name)
		}
		t.Run(in.Name, func(t *testing.T) {
			got := strings.TrimRight(do(string(in.Data)), "\n") + "\n"
			if *update {
				want.Data = []byte(got)
			} else if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
