package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/weft-network/weft/network/install"
	"github.com/weft-network/weft/network/kernel"
)

// besideFlannel are the places of what only Weft has a use for. What flanneld takes over, and what pods use, is not there.
func (c cleanup) besideFlannel() []func(context.Context) findings {
	return []func(context.Context) findings{
		c.lastResort,
		func(ctx context.Context) findings { return rules(ctx, firstRules) },
		func(context.Context) findings { return c.own([]string{c.subnetFile + ".waiting", c.saved()}) },
		c.ownConfiguration,
	}
}

// lastResort finds the routes that answer for pods of this node that are not there.
func (c cleanup) lastResort(ctx context.Context) findings {
	k, err := kernel.Open()
	if err != nil {
		return findings{err: err}
	}
	defer k.Close()
	have, err := k.List(ctx, kernel.Scope{}, nil)
	if err != nil {
		return findings{err: err}
	}
	var drop kernel.State
	for _, r := range have.Routes {
		if r.Type != kernel.Unicast && !r.Foreign {
			drop.Routes.Add(r)
		}
	}
	return c.inKernel(c.describe(drop))
}

// ownConfiguration finds what tells the container runtime of Weft's plugin. It stays where nothing tells of another.
func (c cleanup) ownConfiguration(context.Context) findings {
	files, err := cniFiles(c.cniConfig)
	f := findings{err: err}
	others, err := otherConfigurations(c.cniConfig, files)
	if err != nil {
		return findings{err: err}
	}
	for _, file := range files {
		switch {
		case !slices.Contains(file.types, "weft"):
		case others:
			f.addFile("CNI configuration "+file.path, file.path)
		default:
			f.notes = append(f.notes, fmt.Sprintf("CNI configuration %s stays: there is no other in %s, and without any no pod could start", file.path, c.cniConfig))
		}
	}
	return f
}

// otherConfigurations tells whether dir has a configuration that does not name Weft's plugin.
func otherConfigurations(dir string, files []cniFile) (bool, error) {
	if slices.ContainsFunc(files, func(f cniFile) bool { return !slices.Contains(f.types, "weft") }) {
		return true, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return false, err
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		path := filepath.Join(dir, e.Name())
		return install.IsConfiguration(path) && !slices.ContainsFunc(files, func(f cniFile) bool { return f.path == path })
	}), nil
}
