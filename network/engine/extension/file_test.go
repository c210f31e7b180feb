package extension

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/network/kernel"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []kernel.Command
		wantErr    string
	}{
		{"none", `{"Version":1,"Commands":[]}`, []kernel.Command{}, ""},
		{"one", `{"Version":1,"Commands":[{"Name":"a","Run":"r","Undo":"u","Env":"A=1\nB=2","Stdin":"s","After":"x"}]}`,
			[]kernel.Command{{Name: "a", Run: "r", Undo: "u", Env: "A=1\nB=2", Stdin: "s", After: "x"}}, ""},
		{"of a later form", `{"Version":2,"Commands":[{"Name":"a"}]}`, nil, "it is of version 2: want 1"},
		{"nameless", `{"Version":1,"Commands":[{"Name":"a"},{}]}`, nil, "command 2 has no name"},
		{"cut", `{"Version":1,`, nil, "damaged: unexpected end"},
		{"empty", ``, nil, "damaged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parse([]byte(test.text))
			if test.wantErr == "" && err != nil || test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)) {
				t.Fatalf("error is %v, want %q in it", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"Version":1}`, `{"Version":1,"Commands":[{"Name":"a","Env":"A=1"}]}`, `{"Commands":[null]}`, "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		commands, err := parse(data)
		if err != nil && commands != nil {
			t.Errorf("error %v and commands %v", err, commands)
		}
		for _, c := range commands {
			if c.Name == "" {
				t.Error("a command without a name")
			}
		}
	})
}
