package lab

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAttach(t *testing.T) {
	late, other := errors.New("link eth0 still has tentative addresses after 5 seconds"), errors.New("no addresses left")
	for _, c := range []struct {
		name string
		adds []error // the last one again and again
		del  error
		want []error // what the error is
		done int     // ADDs and DELs
	}{
		{"at once", []error{nil}, nil, nil, 1},
		{"late twice", []error{late, late, nil}, nil, nil, 5},
		{"another error", []error{late, other}, nil, []error{other}, 3},
		{"no DEL", []error{late, nil}, other, []error{late, other}, 2},
		{"always late", []error{late}, nil, []error{late}, 41},
	} {
		t.Run(c.name, func(t *testing.T) {
			var did []string
			adds := slices.Clone(c.adds)
			err := Attach(func() error {
				did = append(did, "ADD")
				e := adds[0]
				adds = adds[min(1, len(adds)-1):]
				return e
			}, func() error { did = append(did, "DEL"); return c.del })
			if (err == nil) != (c.want == nil) {
				t.Errorf("error %v", err)
			}
			for _, w := range c.want {
				if !errors.Is(err, w) {
					t.Errorf("error %v, want %v in it", err, w)
				}
			}
			var want []string
			for i := range c.done {
				want = append(want, []string{"ADD", "DEL"}[i%2])
			}
			if diff := cmp.Diff(want, did); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}
