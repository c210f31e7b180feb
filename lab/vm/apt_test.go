package vm

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseURIs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []deb
		fails      bool
	}{
		{"two", "Reading package lists...\n" +
			"'http://deb.example/pool/i/iproute2_6.1.0-3_amd64.deb' iproute2_6.1.0-3_amd64.deb 1045828 SHA256:00\n" +
			"'http://deb.example/pool/z/zlib1g_1.2.13_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86684 SHA256:00\n",
			[]deb{{"iproute2", "6.1.0-3"}, {"zlib1g", "1:1.2.13.dfsg-1"}}, false},
		{"none", "Reading package lists...\n", nil, true},
		{"no version", "'http://deb.example/x.deb' x.deb 1 SHA256:00\n", nil, true},
		{"broken version", "'http://deb.example/x' x_1%3_amd64.deb 1 SHA256:00\n", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseURIs(c.text)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(deb{})); diff != "" || (err != nil) != c.fails {
				t.Errorf("error %v, packages (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestParseShow(t *testing.T) {
	got, err := parseShow("Package: linux-image-6.1.0-56-cloud-amd64\nSource: linux-signed-amd64 (6.1.192+2)\nVersion: 6.1.192-2\nDescription: Linux\n Version: 7\n")
	if want := (deb{"linux-image-6.1.0-56-cloud-amd64", "6.1.192-2"}); err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := parseShow("Package: x\n"); err == nil {
		t.Error("no error without a version")
	}
}

func TestNewest(t *testing.T) {
	for _, c := range []struct {
		want  string
		names []string
	}{
		{"linux-image-6.1.0-56-cloud-amd64", []string{"linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-57-amd64",
			"linux-image-6.1.0-56-cloud-amd64-dbg", "linux-image-6.1.0-58-cloud-amd64-unsigned"}},
		{"linux-image-6.12.117+deb12-cloud-amd64", []string{"linux-image-6.12.117+deb12-cloud-amd64", "linux-image-6.12.94+deb12-cloud-amd64"}},
		{"", []string{"linux-image-6.1.0-57-amd64"}},
		{"", nil},
	} {
		if got := newest(c.names); got != c.want {
			t.Errorf("newest of %q: %q, want %q", c.names, got, c.want)
		}
	}
}

func TestIdle(t *testing.T) {
	for name, want := range map[string]bool{"perl-base": true, "libperl5.36": true, "libfile-find-rule-perl": true, "libpam-modules": true,
		"libpcap0.8": false, "tcpdump": false, "libc6": false, "tar": true, "passwd": true} {
		if got := isIdle(name); got != want {
			t.Errorf("%s: idle is %t, want %t", name, got, want)
		}
	}
}

// Whoever asks twice is answered from the cache, and lists that have changed are asked again.
func TestRemember(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s, asked := source{t.TempDir()}, 0
	ask := func(question string) []deb {
		debs, err := s.remember(t.Context(), []string{question}, func(string) ([]deb, error) {
			asked++
			return []deb{{question, "1:2-3"}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return debs
	}
	for range 2 {
		if got := ask("wg"); len(got) != 1 || got[0] != (deb{"wg", "1:2-3"}) {
			t.Errorf("answer %v", got)
		}
	}
	ask("ip")
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
	s.lists = t.TempDir()
	if ask("ip"); asked != 3 {
		t.Errorf("asked %d times, want 3: the lists are others", asked)
	}
}
