package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/engine/extension"
	"github.com/weft-network/weft/network/engine/ipsec"
	"github.com/weft-network/weft/network/kernel"
)

// kept finds what is kept beside the kernel: what the operator's own commands did, and associations of IPsec, without which
// charon ends. Processes that move packets end by themselves when their device has gone.
func (c cleanup) kept(ctx context.Context) findings {
	var f findings
	commands := c.commandsFile()
	dir := filepath.Join(c.runDir(), "ipsec")
	for _, e := range []network.Engine{
		extension.New(extension.Options{File: commands, Env: os.Environ()}),
		ipsec.New(ipsec.Options{Dir: dir}),
	} {
		var s kernel.State
		f.err = errors.Join(f.err, e.List(ctx, &s))
		if !s.IsEmpty() {
			f.found = append(f.found, leftover{lines(s.String()), func(ctx context.Context) error { return e.Drop(ctx, s) }})
		}
	}
	if !c.isFirst() {
		return f // they are in folders that go as a whole
	}
	if commands != "" {
		f.addFile("file "+commands, commands)
	}
	f.addFile("folder "+dir, dir)
	return f
}

// commandsFile is where weftd writes down which commands it has run; "" where it does not.
func (c cleanup) commandsFile() string {
	if c.stateDir == "" {
		return ""
	}
	return filepath.Join(c.stateDir, "commands.json")
}
