package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// told is what a delegate is told in these tests.
func told(network, kind string) object {
	o := object{}
	o.set("name", network)
	o.set("type", kind)
	return o
}

// folder makes a data folder with these files.
func folder(t *testing.T, files map[string]string) records {
	t.Helper()
	r := records{t.TempDir()}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// Texts of records.
const (
	ofEth0    = `{"name":"cbr0","type":"bridge","weft":{"ifName":"eth0"}}`
	ofNet1    = `{"name":"cbr0","type":"ptp","weft":{"ifName":"net1"}}`
	ofFlannel = `{"name":"cbr0","type":"bridge"}`
)

func TestFindRecord(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string // "" if there is none
		kind  string // "" if it is damaged
	}{
		{"none", nil, "", ""},
		{"own", map[string]string{"c": ofEth0}, "c", "bridge"},
		{"own of a second interface", map[string]string{"c": ofNet1, "c:eth0": ofEth0}, "c:eth0", "bridge"},
		{"of another interface", map[string]string{"c": ofNet1}, "", ""},
		{"of another container", map[string]string{"d": ofEth0, "c1": ofEth0}, "", ""},
		{"flannel's", map[string]string{"c": ofFlannel}, "c", "bridge"},
		{"flannel's of another network", map[string]string{"c": `{"name":"other","type":"bridge"}`}, "", ""},
		{"damaged", map[string]string{"c": "{"}, "c", ""},
		{"damaged, with one of its own", map[string]string{"c": "{", "c:eth0": ofEth0}, "c:eth0", "bridge"},
		{"a mark that says nothing", map[string]string{"c": `{"name":"cbr0","type":"bridge","weft":7}`}, "c", "bridge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := folder(t, tt.files)
			rec, err := r.find("cbr0", "c", "eth0")
			if tt.want == "" {
				if !errors.Is(err, errNoRecord) || rec.exists() {
					t.Errorf("found %q, error %v, want none", rec.path, err)
				}
				return
			}
			d, ok := rec.delegate()
			if err != nil || filepath.Base(rec.path) != tt.want || d.kind != tt.kind || ok != (tt.kind != "") {
				t.Errorf("found %q for delegate %q (%t), error %v, want %q for %q", rec.path, d.kind, ok, err, tt.want, tt.kind)
			}
			if _, marked := d.conf["weft"]; marked {
				t.Error("the delegate would be told of the mark")
			}
		})
	}
}

func TestPutRecord(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"first", nil, []string{"c"}},
		{"again", map[string]string{"c": ofEth0}, []string{"c"}},
		{"second interface", map[string]string{"c": ofNet1}, []string{"c", "c:eth0"}},
		{"second interface again", map[string]string{"c": ofNet1, "c:eth0": ofEth0}, []string{"c", "c:eth0"}},
		{"second interface, and the first is gone", map[string]string{"c:eth0": ofEth0}, []string{"c:eth0"}},
		{"beside flannel's", map[string]string{"c": ofFlannel}, []string{"c", "c:eth0"}},
		{"beside a damaged one", map[string]string{"c": "{"}, []string{"c", "c:eth0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := folder(t, tt.files)
			if err := r.put("c", "eth0", told("cbr0", "macvlan")); err != nil {
				t.Fatal(err)
			}
			var names []string
			entries, err := os.ReadDir(r.dir)
			for _, e := range entries {
				names = append(names, e.Name())
				if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
					t.Errorf("%s has mode %v, error %v, want 0600", e.Name(), info.Mode(), err)
				}
			}
			if diff := cmp.Diff(tt.want, names); diff != "" || err != nil {
				t.Errorf("error %v, files (-want +got):\n%s", err, diff)
			}
			rec, err := r.find("cbr0", "c", "eth0")
			if err != nil || rec.conf.text("type") != "macvlan" {
				t.Errorf("found %v, error %v, want what was put", rec, err)
			}
		})
	}
}

// The key that marks a record as weft's is no business of the delegate, and what it is told is not changed by keeping it.
func TestPutLeavesConfAlone(t *testing.T) {
	conf := told("cbr0", "bridge")
	if err := folder(t, nil).put("c", "eth0", conf); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"name", "type"}, slices.Sorted(maps.Keys(conf))); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// An ADD whose record cannot be kept says where, and leaves nothing half-written.
func TestPutWhereNothingCanBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := records{filepath.Join(file, "data")}.put("c", "eth0", told("cbr0", "bridge"))
	var where *fs.PathError
	if !errors.As(err, &where) {
		t.Errorf("error %v, want one with the path", err)
	}

	r := folder(t, nil)
	if err := os.Mkdir(filepath.Join(r.dir, "c:eth0"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.put("c", "eth0", told("cbr0", "bridge")); err == nil {
		t.Error("a record in the place of a folder: no error")
	}
	if entries, err := os.ReadDir(r.dir); err != nil || len(entries) != 1 {
		t.Errorf("%v is left, error %v", entries, err)
	}
}

// Whatever a record holds, it is damaged or a delegate can be called with it.
func FuzzRecord(f *testing.F) {
	for _, text := range []string{"", "{", "[]", "null", ofEth0, ofNet1, ofFlannel, `{"name":1,"type":"bridge"}`, `{"name":"x","type":"y","weft":{"ifName":7}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		conf, ifName := decodeRecord(text)
		if conf == nil {
			if ifName != "" {
				t.Fatalf("a damaged record of interface %q", ifName)
			}
			return
		}
		if conf.text("name") == "" || conf.text("type") == "" || !json.Valid(encode(conf)) {
			t.Fatalf("a delegate would be told %s", encode(conf))
		}
	})
}
