package subnet_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/weft-network/weft/subnet"
)

func TestParseEnv(t *testing.T) {
	golden(t, "testdata/env.txtar", func(input string) string {
		e, err := subnet.ParseEnv(input)
		if err != nil {
			return "error: " + strings.ReplaceAll(err.Error(), "\n", "\nerror: ")
		}
		return e.String() + "leased " + e.Leased().String()
	})
}

func TestFirstHost(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.5.72.0/24":      "10.5.72.1/24",
		"10.5.72.9/24":      "10.5.72.1/24",
		"10.5.72.4/30":      "10.5.72.5/30",
		"fd00:5:0:1::/64":   "fd00:5:0:1::1/64",
		"fd00:5:0:1::4/126": "fd00:5:0:1::5/126",
	} {
		if got := subnet.FirstHost(netip.MustParsePrefix(prefix)); got.String() != want {
			t.Errorf("FirstHost(%s) = %s, want %s", prefix, got, want)
		}
	}
}

// env is what a node of a dual-stack cluster writes.
func env() subnet.Env {
	return subnet.Env{
		Networks: subnets("10.5.0.0/16", "fd00:5::/56"),
		Subnets:  [2]netip.Prefix{netip.MustParsePrefix("10.5.72.1/24"), netip.MustParsePrefix("fd00:5:0:1::1/64")},
		MTU:      1450, Masquerade: true,
	}
}

func TestEnvFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "flannel", "subnet.env")
	if _, err := subnet.ReadEnv(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("ReadEnv without a file returned %v: want fs.ErrNotExist with the path", err)
	}
	want := env()
	for _, changed := range []bool{true, false} {
		if got, err := subnet.WriteEnv(path, want); got != changed || err != nil {
			t.Errorf("WriteEnv returned %t, %v: want %t", got, err, changed)
		}
		if got, err := subnet.ReadEnv(path); got != want || err != nil {
			t.Errorf("ReadEnv returned %v, %v: want %v", got, err, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file is %v, %v: want it readable for everyone", info.Mode(), err)
	}
	want.MTU = 8950
	if changed, err := subnet.WriteEnv(path, want); !changed || err != nil {
		t.Errorf("WriteEnv of another MTU returned %t, %v", changed, err)
	}
	if got, err := subnet.ReadEnv(path); got != want || err != nil {
		t.Errorf("ReadEnv returned %v, %v: want %v", got, err, want)
	}
	if err := os.WriteFile(path, []byte("FLANNEL_MTU"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := subnet.ReadEnv(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("ReadEnv of a damaged file returned %v: want the path and the line", err)
	}
}

// TestEnvCutOff cuts the file at every byte, as a full disk does to one that is not replaced at once. Only the end of the
// last line can be missing unnoticed.
func TestEnvCutOff(t *testing.T) {
	whole := env().String()
	for n := range len(whole) - 1 {
		if e, err := subnet.ParseEnv(whole[:n]); err == nil {
			t.Errorf("%q is read as %v", whole[:n], e)
		}
	}
}

func FuzzParseEnv(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/env.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		f.Add(string(file.Data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := subnet.ParseEnv(text)
		if err != nil {
			return
		}
		if e.Leased().IsZero() || e.MTU == 0 {
			t.Errorf("incomplete: %v", e)
		}
		for _, f := range subnet.Families {
			if e.Networks[f].IsValid() != e.Subnets[f].IsValid() ||
				e.Networks[f].IsValid() && !slices.ContainsFunc(e.All(), e.Subnets[f].Overlaps) {
				t.Errorf("network %s, subnet %s", e.Networks[f], e.Subnets[f])
			}
		}
		again, err := subnet.ParseEnv(e.String())
		if err != nil || again != e {
			t.Errorf("%v is read again as %v, %v", e, again, err)
		}
	})
}

func ExampleEnv_String() {
	fmt.Print(env())
	// Output:
	// FLANNEL_NETWORK=10.5.0.0/16
	// FLANNEL_SUBNET=10.5.72.1/24
	// FLANNEL_IPV6_NETWORK=fd00:5::/56
	// FLANNEL_IPV6_SUBNET=fd00:5:0:1::1/64
	// FLANNEL_MTU=1450
	// FLANNEL_IPMASQ=true
}
