package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-network/weft/network/install"
	"github.com/weft-network/weft/network/kernel"
)

// cniPlugin is as much of the configuration of a plugin as cleaning up needs.
type cniPlugin struct {
	Type     string
	Network  string
	Delegate struct{ Bridge string }
}

// ours tells whether p is the plugin of Weft or of flannel.
func (p cniPlugin) ours() bool { return p.Type == "weft" || p.Type == "flannel" }

// cniFile is a file that tells the container runtime of a network of ours.
type cniFile struct {
	path    string
	network string   // of weftd's, "" for the first
	name    string   // of the network
	types   []string // of plugins of ours
	bridges []string // that the pods are attached to, where they are named
}

// ofCNI finds what belongs to pods and to the container runtime. Without --cni it is only told of.
func (c cleanup) ofCNI(ctx context.Context) findings {
	files, err := c.cniFiles()
	bridges := c.bridges(files)
	f := devices(ctx, func(d kernel.Device) bool { return d.Kind == "bridge" && slices.Contains(bridges, d.Name) })
	f.err = errors.Join(f.err, err)
	for _, file := range files {
		f.addFile("CNI configuration "+file.path, file.path)
		if name := file.name; name != "" && filepath.IsLocal(name) && !strings.Contains(name, "/") {
			path := filepath.Join(c.hostLocal, name)
			f.addFile("records of pods' addresses "+path, path)
		}
	}
	if c.isFirst() {
		f.addFile("records of the CNI plugin "+c.cniData, c.cniData)
	}
	if plugin := filepath.Join(c.cniBin, "weft"); c.cni && c.isFirst() && install.IsOurs(plugin) {
		f.notes = append(f.notes, "CNI plugin "+plugin+" stays: the runtime needs it to delete the pods that it made; remove it when there are none")
	}
	if !c.cni {
		for _, l := range f.found {
			f.notes = append(f.notes, l.what[0]+" stays; --cni removes it too")
		}
		f.found = nil
	}
	return f
}

// plugins are those that weftd installs, beside what an image may add.
func plugins() []string {
	return []string{"weft", "bridge", "host-local", "loopback", "portmap", "bandwidth"}
}

// unfinished finds what installations of plugins and configuration left behind that were killed.
func (c cleanup) unfinished() []string {
	names := []string{"10-weft.conflist"}
	if files, err := cniFiles(c.cniConfig); err == nil {
		for _, file := range files {
			names = append(names, filepath.Base(file.path))
		}
	}
	slices.Sort(names)
	var paths []string
	for _, name := range slices.Compact(names) {
		paths = append(paths, install.Leftovers(c.cniConfig, name)...)
	}
	for _, name := range plugins() {
		paths = append(paths, install.Leftovers(c.cniBin, name)...)
	}
	return paths
}

// bridges are those that pods may be attached to.
func (c cleanup) bridges(files []cniFile) []string {
	bridges := []string{c.bridge}
	for _, file := range files {
		bridges = append(bridges, file.bridges...)
	}
	slices.Sort(bridges)
	return slices.Compact(bridges)
}

// unused returns an error where pods are attached to a bridge that is to go.
func (c cleanup) unused() error {
	files, err := c.cniFiles()
	if err != nil {
		return err
	}
	for _, bridge := range c.bridges(files) {
		ports, err := os.ReadDir(filepath.Join("/sys/class/net", bridge, "brif"))
		if err == nil && len(ports) > 0 {
			return fmt.Errorf("pods are attached to bridge %s (%d devices): drain the node first, or go on with --force", bridge, len(ports))
		}
	}
	return nil
}

// cniFiles finds the configurations that have a plugin of ours and are about the network.
func (c cleanup) cniFiles() ([]cniFile, error) {
	files, err := cniFiles(c.cniConfig)
	return slices.DeleteFunc(files, func(f cniFile) bool { return f.network != c.mark.Name }), err
}

// cniFiles finds the configurations in dir that have a plugin of ours. Files that no runtime could read are passed over.
func cniFiles(dir string) ([]cniFile, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []cniFile
	for _, e := range entries {
		if !install.IsConfiguration(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if file, ok := readCNI(path, text); ok {
			files = append(files, file)
		}
	}
	return files, nil
}

// readCNI reads one configuration; ok tells whether it is of a network of ours.
func readCNI(path string, text []byte) (file cniFile, ok bool) {
	var list struct {
		Name    string
		Plugins []cniPlugin
	}
	var single cniPlugin
	if json.Unmarshal(text, &list) != nil || json.Unmarshal(text, &single) != nil {
		return file, false
	}
	file = cniFile{path: path, name: list.Name}
	for _, p := range append(list.Plugins, single) {
		if p.ours() {
			ok = true
			file.types = append(file.types, p.Type)
			file.network = p.Network
			if p.Delegate.Bridge != "" {
				file.bridges = append(file.bridges, p.Delegate.Bridge)
			}
		}
	}
	return file, ok
}
