package install

import "testing"

// TestCompare goes through the kinds of versions that plugins have.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		ours, theirs   string
		delegate, weft bool // the one on the host is replaced
	}{
		{"v1.9.1", "v1.9.0", true, true},
		{"v1.9.1", "v1.10.0", false, false},
		{"v1.9.1", "v1.9.1", false, true},
		{"v1.9.1", "v1.9.1-rc.1", true, true},
		{"v1.9.1-rc.1", "v1.9.1", false, false},
		{"v1.9.1", "v1.9.1+k3s1", false, true},
		{"v1.9.1", "v1.9.1-3-gabc1234", false, false},
		{"v1.9.1-3-gabc1234", "v1.9.1", true, true},
		{"v1.9.1-10-gabc1234", "v1.9.1-9-gdef5678-dirty", true, true},
		{"v1.9.1-10-gabc1234-dirty", "v1.9.1-10-gabc1234", false, true},
		{"v1.9.1-3-gabc1234", "v1.9.2", false, false},
		{"v1.9.1", "", false, true},
		{"v1.9.1", "(devel)", false, true},
		{"devel", "v1.9.1", false, true},
		{"abc1234-dirty", "def5678", false, true},
		{"v0.0.0-20260101000000-abcdefabcdef", "v1.0.0", false, true},
		{"", "", false, true},
	} {
		for path, want := range map[string]bool{theirBridge: c.delegate, ownProgram: c.weft} {
			if got := compare(program{path, c.ours}, program{path, c.theirs}); got.install != want || got.reason == "" {
				t.Errorf("%s %s over %s: %+v, want install %v", path, c.ours, c.theirs, got, want)
			}
		}
		for _, other := range []program{{}, {path: "example.com/bridge", version: "v0.0.1"}} {
			if got := compare(program{theirBridge, c.ours}, other); got.install {
				t.Errorf("%s over another program %+v", c.ours, other)
			}
		}
	}
}

// TestVersionFlag reads the version that a linker was told, as projects and distributions write it.
func TestVersionFlag(t *testing.T) {
	const bv = "github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion"
	for flags, want := range map[string]string{
		"-extldflags -static -X " + bv + "=v1.4.0": "v1.4.0",
		"-s -w -X=" + bv + "=v1.4.0 -buildid=":     "v1.4.0",
		"-X '" + bv + "=v1.4.0' -X main.program=x": "v1.4.0",
		`-X "main.version=1.2.3"`:                  "1.2.3",
		"-X main.versions=1 -X main.commit=abc":    "",
		"-s -w":                                    "",
	} {
		got := ""
		if m := versionFlag.FindStringSubmatch(flags); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", flags, got, want)
		}
	}
}

// TestAbout reads what plugins say of themselves.
func TestAbout(t *testing.T) {
	for text, want := range map[string]string{
		"CNI bridge plugin v1.9.1\nCNI protocol versions supported: 0.1.0, 1.0.0\n": "v1.9.1",
		"CNI bandwidth plugin version 1.1.1~ds1-3":                                  "1.1.1~ds1-3",
		"weft v0.1.0-5-gabc1234: a CNI plugin, run by a container runtime":          "v0.1.0-5-gabc1234",
		"weft devel: a CNI plugin":                                                  "devel",
		"CNI Plugin flannel version v1.5.1":                                         "",
		"something else about CNI plugin v1":                                        "",
		"":                                                                          "",
	} {
		got := ""
		if m := about.FindStringSubmatch(text); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
