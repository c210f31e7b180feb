package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// program is a Go program in an image.
type program struct {
	path string // in the image, with the architecture in front
	sum  string // SHA-256
	info *debug.BuildInfo
}

// addModules writes down which Go modules the programs were built from, in the file that the options name and in the
// images. What is written is the same for all architectures.
func (o options) addModules(roots []*root) error {
	var programs []program
	for _, r := range roots {
		found, err := r.programs()
		if err != nil {
			return fmt.Errorf("reading what the programs for %s were built from: %w", r.arch, err)
		}
		programs = append(programs, found...)
	}
	if len(programs) == 0 {
		return fmt.Errorf("no Go program is in %s: there is nothing to write to %s", o.root, o.sbom)
	}
	var text bytes.Buffer
	encoder := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true)
	if err := encoder.Encode(o.bill(programs)); err != nil {
		return fmt.Errorf("writing the list of modules: %w", err)
	}
	name := strings.TrimSuffix(path.Base(o.name), ":"+o.tag())
	for _, r := range roots {
		r.extra = append(r.extra, entry{"usr/share/sbom/" + name + ".cdx.json", text.Bytes()})
	}
	return os.WriteFile(o.sbom, text.Bytes(), 0o644)
}

// programs finds the Go programs in the root. Other files are passed over.
func (r *root) programs() ([]program, error) {
	var found []program
	err := filepath.WalkDir(r.dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := buildinfo.Read(f)
		if err != nil {
			return nil // not a Go program
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, 0, 1<<40)); err != nil {
			return err
		}
		name, err := filepath.Rel(r.dir, file)
		if err != nil {
			return err
		}
		found = append(found, program{path.Join(r.arch, filepath.ToSlash(name)), hex.EncodeToString(sum.Sum(nil)), info})
		return nil
	})
	return found, err
}

// bill is the bill of materials: the image, the programs in it, and the modules in these. It has no date and no number
// of its own, so that the same programs have the same.
func (o options) bill(programs []program) *cdx.BOM {
	subject := cdx.Component{BOMRef: o.name, Type: cdx.ComponentTypeContainer, Name: o.name, Version: o.version}
	modules := map[string]cdx.Component{}
	files := make([]cdx.Component, 0, len(programs))
	needs := map[string][]string{}
	for _, p := range programs {
		files = append(files, cdx.Component{BOMRef: p.path, Type: cdx.ComponentTypeApplication, Name: p.path, Version: o.versionOf(p.info),
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: p.sum}}, Description: p.info.Path})
		needs[subject.BOMRef] = append(needs[subject.BOMRef], p.path)
		for _, m := range o.modulesOf(p.info) {
			modules[m.BOMRef] = m
			needs[p.path] = append(needs[p.path], m.BOMRef)
		}
	}
	slices.SortFunc(files, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	for _, ref := range slices.Sorted(maps.Keys(modules)) {
		files = append(files, modules[ref])
	}
	var dependencies []cdx.Dependency
	for _, ref := range slices.Sorted(maps.Keys(needs)) {
		slices.Sort(needs[ref])
		on := slices.Compact(needs[ref])
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &on})
	}
	b := cdx.NewBOM()
	b.Metadata = &cdx.Metadata{Component: &subject}
	b.Components, b.Dependencies = &files, &dependencies
	return b
}

// versionOf returns the version of the module that the program belongs to. A program that was built in its own source
// tree does not know it: it is the image's then.
func (o options) versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return o.version
}

// modulesOf returns what a program was built from: its own module, all others, and the standard library.
func (o options) modulesOf(info *debug.BuildInfo) []cdx.Component {
	list := []cdx.Component{
		module("stdlib", strings.TrimPrefix(strings.Fields(info.GoVersion + " ")[0], "go")),
	}
	if info.Main.Path != "" {
		list = append(list, module(info.Main.Path, o.versionOf(info)))
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		list = append(list, module(m.Path, m.Version))
	}
	return list
}

func module(name, version string) cdx.Component {
	ref := "pkg:golang/" + name
	if version != "" {
		ref += "@" + url.PathEscape(version)
	}
	return cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: ref}
}
