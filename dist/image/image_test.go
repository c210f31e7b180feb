package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// folder makes a root file system: a program, which is this test, a file, a link and a folder like /tmp.
func folder(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"bin", "etc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "bin/program"), program, 0o700),
		os.WriteFile(filepath.Join(dir, "etc/file"), []byte("text"), 0o600),
		os.Symlink("../etc/file", filepath.Join(dir, "bin/link")),
		os.Chmod(filepath.Join(dir, "tmp"), os.ModeSticky|0o777),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// command runs the command and returns what it printed.
func command(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := run(args, &out, &errs); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String()
}

// unpack returns the index in the tar file.
func unpack(t *testing.T, file string) v1.ImageIndex {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(to, 0o755)
		} else {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(to, text, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatalf("the tar file is not what its digests say: %v", err)
	}
	return index
}

// only returns the one descriptor in the index.
func only(t *testing.T, index v1.ImageIndex) v1.Descriptor {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	return m.Manifests[0]
}

// files lists what is in the image, one line for each file.
func files(t *testing.T, image v1.Image) (lines []string, texts map[string]string) {
	t.Helper()
	texts = map[string]string{}
	all := mutate.Extract(image)
	defer all.Close()
	for r := tar.NewReader(all); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(made) {
			t.Errorf("%s has the time %s", h.Name, h.ModTime)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		texts[h.Name] = string(text)
		line := strings.Join([]string{h.FileInfo().Mode().String(), strconv.Itoa(h.Uid), strconv.Itoa(h.Gid), h.Name, h.Linkname}, " ")
		lines = append(lines, strings.TrimSpace(line))
	}
}

func TestOneArchitecture(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.tar")
	said := command(t, "-name", "docker.io/library/thing:v7", "-version", "v7.1", "-title", "thing", "-licenses", "Apache-2.0", "-source", "https://example.org",
		"-entrypoint", "/bin/program", "-env", "A=b", "-root", folder(t, t.TempDir()), "-out", out, "--", "serve", "-v")
	index := unpack(t, out)
	d := only(t, index)
	if d.Annotations["io.containerd.image.name"] != "docker.io/library/thing:v7" || d.Annotations["org.opencontainers.image.ref.name"] != "v7" {
		t.Errorf("the names in the index: %v", d.Annotations)
	}
	if !strings.Contains(said, d.Digest.String()) {
		t.Errorf("said %q, but the digest is %s", said, d.Digest)
	}
	image, err := index.Image(d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != "amd64" || d.Platform.Architecture != "amd64" {
		t.Errorf("platform %s/%s, in the index %v", config.OS, config.Architecture, d.Platform)
	}
	c := config.Config
	if got := strings.Join(append(c.Entrypoint, c.Cmd...), " "); got != "/bin/program serve -v" || strings.Join(c.Env, " ") != "A=b" {
		t.Errorf("starts %q with %v", got, c.Env)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"version": "v7.1", "title": "thing", "licenses": "Apache-2.0", "source": "https://example.org"} {
		key = "org.opencontainers.image." + key
		if c.Labels[key] != want || manifest.Annotations[key] != want {
			t.Errorf("%s: label %q, annotation %q, want %q", key, c.Labels[key], manifest.Annotations[key], want)
		}
	}
	lines, _ := files(t, image)
	want := "drwxr-xr-x 0 0 bin\nLrwxrwxrwx 0 0 bin/link ../etc/file\n-rwxr-xr-x 0 0 bin/program\ndrwxr-xr-x 0 0 etc\n-rw-r--r-- 0 0 etc/file\ndtrwxrwxrwx 0 0 tmp"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("files:\n%s\nwant:\n%s", got, want)
	}
}

func TestTwoArchitectures(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "x.tar")
	folder(t, filepath.Join(dir, "amd64"))
	folder(t, filepath.Join(dir, "arm64"))
	command(t, "-name", "thing:latest", "-arch", "amd64", "-arch", "arm64", "-root", dir, "-out", out)
	index, err := unpack(t, out).ImageIndex(only(t, unpack(t, out)).Digest)
	if err != nil {
		t.Fatalf("the reference does not name an index: %v", err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Manifests {
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil || config.Architecture != d.Platform.Architecture {
			t.Errorf("%+v, %v", config, err)
		}
		got = append(got, d.Platform.String())
	}
	if strings.Join(got, " ") != "linux/amd64 linux/arm64" {
		t.Errorf("platforms %v", got)
	}
}

// TestSameFilesSameImage holds that neither the folder's place, nor times, nor modes that do not matter change anything.
func TestSameFilesSameImage(t *testing.T) {
	var tars [2][]byte
	for i := range tars {
		dir := folder(t, t.TempDir())
		if i > 0 {
			if err := os.Chmod(filepath.Join(dir, "etc/file"), 0o444); err != nil {
				t.Fatal(err)
			}
		}
		out := filepath.Join(t.TempDir(), "x.tar")
		command(t, "-name", "thing:latest", "-root", dir, "-out", out, "-sbom", filepath.Join(t.TempDir(), "sbom"))
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		tars[i] = text
	}
	if !bytes.Equal(tars[0], tars[1]) {
		t.Error("the same files made two different images")
	}
}

func TestModules(t *testing.T) {
	sbom, out := filepath.Join(t.TempDir(), "sbom"), filepath.Join(t.TempDir(), "x.tar")
	command(t, "-name", "docker.io/library/thing:v7", "-version", "v7.1", "-root", folder(t, t.TempDir()), "-out", out, "-sbom", sbom)
	text, err := os.ReadFile(sbom)
	if err != nil {
		t.Fatal(err)
	}
	index := unpack(t, out)
	image, err := index.Image(only(t, index).Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, inside := files(t, image); inside["usr/share/sbom/thing.cdx.json"] != string(text) {
		t.Error("the image has not what is beside it")
	}
	var b cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&b); err != nil {
		t.Fatal(err)
	}
	if b.Metadata.Component.Version != "v7.1" {
		t.Errorf("version %q", b.Metadata.Component.Version)
	}
	refs := map[string]cdx.Component{}
	for _, c := range *b.Components {
		refs[c.BOMRef] = c
	}
	if p := refs["amd64/bin/program"]; p.Hashes == nil || p.Version != "v7.1" {
		t.Errorf("the program: %+v", p)
	}
	for _, want := range []string{"pkg:golang/stdlib@", "pkg:golang/github.com/google/go-containerregistry@v0.", "pkg:golang/github.com/weft-network/weft/dist/image@v7.1"} {
		found := false
		for ref := range refs {
			found = found || strings.HasPrefix(ref, want)
		}
		if !found {
			t.Errorf("no %s", want)
		}
	}
	for _, d := range *b.Dependencies {
		for _, on := range *d.Dependencies {
			if _, ok := refs[on]; !ok {
				t.Errorf("%s needs %s, which is not listed", d.Ref, on)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, args string
		want       []string
	}{
		{"nothing", "", []string{"-name is missing", "-root is missing", "-out is missing"}},
		{"twice", "-name a -root b -out c -arch arm64 -arch arm64", []string{"-arch is given twice"}},
		{"environment", "-name a -root b -out c -env d", []string{"-env d is not NAME=value"}},
		{"no folder", "-name a -out c -root " + dir + "/none", []string{"root file system for amd64", "no such file"}},
		{"not a folder", "-name a -out c -root " + file, []string{"is not a folder"}},
		{"no program", "-name a -out c -sbom d -root " + dir, []string{"no Go program is in " + dir}},
		{"nowhere", "-name a -out " + dir + "/none/c -root " + dir, []string{"making " + dir + "/none/c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run(strings.Fields(tt.args), io.Discard, io.Discard)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
		})
	}
}
