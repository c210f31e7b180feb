package wire_test

import (
	"strings"
	"testing"

	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/network/kernel"
)

func TestParseMark(t *testing.T) {
	for _, c := range []struct {
		text string
		want kernel.Mark
		err  string
	}{
		{"blue=1", kernel.Mark{Name: "blue", Number: 1}, ""},
		{"storage=8", kernel.Mark{Name: "storage", Number: 8}, ""},
		{"b2=3", kernel.Mark{Name: "b2", Number: 3}, ""},
		{"", kernel.Mark{}, "such as blue=1"},
		{"blue", kernel.Mark{}, `"blue" is not a name and a number, such as blue=1`},
		{"blue=x", kernel.Mark{}, "such as blue=1"},
		{"blue=256", kernel.Mark{}, "such as blue=1"},
		{"blue=1=2", kernel.Mark{}, "such as blue=1"},
		{"=0", kernel.Mark{}, "the name is missing"},
		{"=1", kernel.Mark{}, `name "" is not`},
		{"blue=9", kernel.Mark{}, "number 9 is not between 1 and 8"},
		{"Blue=1", kernel.Mark{}, `name "Blue" is not`},
		{"flannel=1", kernel.Mark{}, "what devices of the first network begin with"},
		{"subnet=1", kernel.Mark{}, "files of the first"},
		{"ipsec=1", kernel.Mark{}, "files of the first"},
	} {
		got, err := wire.ParseMark(c.text)
		switch {
		case got != c.want:
			t.Errorf("%q is %+v, want %+v", c.text, got, c.want)
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: error %v, want %q", c.text, err, c.err)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	for _, s := range []string{"blue=1", "=", "a=8", "=0", "flannel=1", "b=256", "b=+1", "ä=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := wire.ParseMark(s)
		if (err == nil) != (m != kernel.Mark{}) || m.Check() != nil {
			t.Errorf("%q is %+v, %v", s, m, err)
		}
	})
}
