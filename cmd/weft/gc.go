package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// reservations is where host-local keeps which address belongs to which pod, in a folder for each network, unless its
// config says dataDir.
const reservations = "/var/lib/cni/networks"

// flannelIfName is the interface that a file of flannel's is taken to be about, which does not say it: what all
// runtimes of Kubernetes call the first interface of a pod.
const flannelIfName = "eth0"

// gc detaches what belongs to no attachment that the runtime still knows: attachments of which a record is kept, and
// addresses that host-local holds for attachments that left no record. Then the delegate does what it does at GC.
func (p plugin) gc(args *skel.CmdArgs) error {
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	if c.Valid == nil {
		return types.NewError(types.ErrInvalidNetworkConfig,
			`network config: key "cni.dev/valid-attachments" is missing: without it every pod would be detached`, "")
	}
	d, err := c.lastResort()
	if err != nil {
		return err
	}
	valid := map[types.GCAttachment]bool{}
	for _, a := range c.Valid {
		valid[a] = true
	}
	return firstCode(
		p.collectRecords(c, d, valid, args.Path),
		p.collectAddresses(c, d, valid, args.Path),
		p.passGC(c, d, args),
	)
}

// collectRecords detaches what the records of this network tell of and valid does not.
func (p plugin) collectRecords(c conf, d delegate, valid map[types.GCAttachment]bool, path string) error {
	all, err := records{c.DataDir}.all()
	errs := []error{err}
	for _, rec := range all {
		was, ok := rec.delegate()
		if ok && rec.conf.text("name") != c.Name || rec.isValid(valid) {
			continue
		}
		if !ok {
			was = d
		}
		ifName := rec.ifName
		if ifName == "" {
			ifName = flannelIfName
		}
		_, err := p.run(was, call{command: "DEL", containerID: rec.containerID, ifName: ifName, path: path})
		if err == nil {
			err = rec.remove()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// isValid tells whether the record is about an attachment in valid. One that does not say which interface it is about
// belongs to any of its container.
func (r record) isValid(valid map[types.GCAttachment]bool) bool {
	if r.ifName != "" {
		return valid[types.GCAttachment{ContainerID: r.containerID, IfName: r.ifName}]
	}
	for a := range valid {
		if a.ContainerID == r.containerID {
			return true
		}
	}
	return false
}

// collectAddresses releases the addresses that host-local holds for attachments that are not in valid. host-local does
// not do it itself.
func (p plugin) collectAddresses(c conf, d delegate, valid map[types.GCAttachment]bool, path string) error {
	ipam := struct {
		Type    string `json:"type"`
		DataDir string `json:"dataDir"`
	}{}
	if json.Unmarshal(d.conf["ipam"], &ipam) != nil || ipam.Type != "host-local" {
		return nil
	}
	if ipam.DataDir == "" {
		ipam.DataDir = reservations
	}
	holders, err := holdersOf(filepath.Join(ipam.DataDir, c.Name))
	errs := []error{err}
	for holder := range holders {
		if !valid[holder] {
			_, err := p.run(d, call{command: "DEL", containerID: holder.ContainerID, ifName: holder.IfName, path: path})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// holdersOf returns whom host-local holds addresses for: in dir, a file named by each address says it in two lines.
// The files of its first versions, which name no interface, are left alone.
func holdersOf(dir string) (map[types.GCAttachment]bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	holders := map[types.GCAttachment]bool{}
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // released meanwhile
		}
		lines := strings.Fields(string(text))
		if len(lines) == 2 {
			holders[types.GCAttachment{ContainerID: lines[0], IfName: lines[1]}] = true
		}
	}
	return holders, err
}

// passGC hands GC over to the delegate, if it knows that command.
func (p plugin) passGC(c conf, d delegate, args *skel.CmdArgs) error {
	if ok, err := p.speaksNewest(d, args.Path); !ok {
		return err
	}
	d.conf.set("cni.dev/valid-attachments", c.Valid)
	d.conf.set("cni.dev/attachments", c.Valid)
	_, err := p.run(d, callOf("GC", args))
	return err
}

// firstCode joins errs under the code of the first that has one. It returns nil if all are nil.
func firstCode(errs ...error) error {
	err := errors.Join(errs...)
	var first *types.Error
	if errors.As(err, &first) {
		return types.NewError(first.Code, err.Error(), "")
	}
	return err
}
