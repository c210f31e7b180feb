package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// records keep what the delegate was told at ADD, so that DEL tells it the same after the network config or the lease
// changed: one file for each attachment, in the form that flannel's plugin writes and reads too.
//
// The file is named by the container alone, as flannel names it. A second interface of the same container gets a file
// of its own, named by container and interface with a colon between, which neither of them may contain.
type records struct {
	dir string
}

// record is what is kept of one attachment.
type record struct {
	path        string
	containerID string
	ifName      string // "" where the file does not say, as flannel's do not
	conf        object // the delegate's config; nil if the file is damaged
}

// ours is what this plugin adds to the delegate's config in a file, under the key "weft".
type ours struct {
	IfName string `json:"ifName"`
}

// errNoRecord says that nothing is kept of an attachment.
var errNoRecord = errors.New("nothing is kept of this attachment")

// find returns what is kept of an attachment to the network, or errNoRecord. A file that cannot be read or
// understood is a record without a config.
func (r records) find(network, containerID, ifName string) (record, error) {
	own := read(filepath.Join(r.dir, containerID+":"+ifName), containerID)
	if own.exists() {
		own.ifName = ifName
		return own, nil
	}
	shared := read(filepath.Join(r.dir, containerID), containerID)
	switch {
	case !shared.exists():
		return record{}, fmt.Errorf("%w in %s", errNoRecord, r.dir)
	case shared.ifName != "" && shared.ifName != ifName:
		return record{}, fmt.Errorf("%w in %s, only of interface %s", errNoRecord, r.dir, shared.ifName)
	case shared.conf != nil && shared.conf.text("name") != network:
		return record{}, fmt.Errorf("%w in %s, only of network %s", errNoRecord, r.dir, shared.conf.text("name"))
	}
	return shared, nil
}

// put keeps the delegate's config for an attachment, in the place of what was kept before. The file is whole or not
// there; it is not forced to the disk, since pods do not outlive a loss of power, and DEL does without it.
func (r records) put(containerID, ifName string, conf object) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return fmt.Errorf("make dataDir: %w", err)
	}
	path := filepath.Join(r.dir, containerID)
	own := path + ":" + ifName
	if _, err := os.Lstat(own); err == nil {
		path = own
	} else if before := read(path, containerID); before.exists() && before.ifName != ifName {
		path = own
	}
	kept := object{}
	for key, value := range conf {
		kept[key] = value
	}
	kept.set("weft", ours{IfName: ifName})
	if err := write(r.dir, path, encode(kept)); err != nil {
		return fmt.Errorf("keep the delegate's config for DEL: %w", err)
	}
	return nil
}

// write makes the file at path hold text, readable by its owner only, by way of another file in dir.
func write(dir, path string, text []byte) error {
	f, err := os.CreateTemp(dir, ".weft-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// all returns every record. Files that ADD left half-written are removed.
func (r records) all() ([]record, error) {
	entries, err := os.ReadDir(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list dataDir: %w", err)
	}
	var all []record
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(r.dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			if strings.HasPrefix(e.Name(), ".weft-") {
				_ = os.Remove(path) // tried again by the next GC
			}
			continue
		}
		containerID, ifName, _ := strings.Cut(e.Name(), ":")
		rec := read(path, containerID)
		if ifName != "" {
			rec.ifName = ifName
		}
		all = append(all, rec)
	}
	return all, nil
}

// read returns the record in the file at path; one without a path if there is no such file.
func read(path, containerID string) record {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}
	}
	rec := record{path: path, containerID: containerID}
	if err == nil {
		rec.conf, rec.ifName = decodeRecord(text)
	}
	return rec
}

// decodeRecord returns the delegate's config in the text of a record, and the interface if it says which. A text that
// no delegate could be called with makes a nil config.
func decodeRecord(text []byte) (object, string) {
	var conf object
	if err := json.Unmarshal(text, &conf); err != nil {
		return nil, ""
	}
	if conf.text("type") == "" || conf.text("name") == "" {
		return nil, ""
	}
	var mark ours
	_ = json.Unmarshal(conf["weft"], &mark) // flannel's files have none
	delete(conf, "weft")
	return conf, mark.IfName
}

// exists tells whether there is a file at all.
func (r record) exists() bool { return r.path != "" }

// delegate returns the delegate that the record tells of; ok is false if the record is damaged.
func (r record) delegate() (d delegate, ok bool) {
	return delegate{kind: r.conf.text("type"), conf: r.conf}, r.conf != nil
}

// remove takes the record away. It is no error if there is none.
func (r record) remove() error {
	if !r.exists() {
		return nil
	}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
