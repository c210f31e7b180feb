package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/weft-network/weft/subnet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each file in testdata/delegate holds a network config, a subnet.env, and what the delegate is told because of them.
func TestDelegate(t *testing.T) {
	files, err := filepath.Glob("testdata/delegate/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			golden, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := parseConf(part(golden, "conf"))
			if err != nil {
				t.Fatal(err)
			}
			env := subnet.Env{Masquerade: true} // as DEL has it without a subnet
			if text := part(golden, "subnet.env"); len(text) > 0 {
				env = mustEnv(t, string(text))
			}
			got := ""
			if d, err := c.delegate(env); err != nil {
				got = err.Error() + "\n"
			} else {
				var text bytes.Buffer
				if err := json.Indent(&text, encode(d.conf), "", "\t"); err != nil {
					t.Fatal(err)
				}
				got = text.String() + "\n"
			}
			if *update {
				golden.Files = []txtar.File{golden.Files[0], golden.Files[1], {Name: "delegate", Data: []byte(got)}}
				if err := os.WriteFile(file, txtar.Format(golden), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(part(golden, "delegate")), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// part returns the text of one file in an archive.
func part(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}
