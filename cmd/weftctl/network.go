package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/masq"
)

// choose turns the cleanup into one of the network that --network says. given tells whether a flag was given: files and bridge
// that were not are the network's own.
func (c *cleanup) choose(given func(flag string) bool) error {
	if c.network == "" {
		return nil
	}
	mark, err := wire.ParseMark(c.network)
	if err != nil {
		return fmt.Errorf("--network %q: %w", c.network, err)
	}
	c.mark = mark
	if !given("subnet-file") {
		c.subnetFile = filepath.Join(filepath.Dir(c.subnetFile), mark.Name+".env")
	}
	if !given("bridge") {
		c.bridge = "cni-" + mark.Name
	}
	if c.stateDir != "" {
		c.stateDir = filepath.Join(c.stateDir, mark.Name)
	}
	return nil
}

// isFirst tells whether the cleanup is of the first network, and of flannel.
func (c cleanup) isFirst() bool { return c.mark == (kernel.Mark{}) }

// open opens the kernel to see what is the network's.
func (c cleanup) open() (*kernel.Kernel, error) { return kernel.OpenAs(c.mark, kernel.SysctlDir) }

// ofNetwork are the places where something of the network can be, beside what pods use.
func (c cleanup) ofNetwork() []func(context.Context) findings {
	return []func(context.Context) findings{
		func(ctx context.Context) findings { return c.allInKernel(ctx, kernel.Scope{}) },
		c.kept,
		func(ctx context.Context) findings {
			return rules(ctx, func(ctx context.Context, dryRun bool) ([]string, error) {
				return masq.CleanAll(ctx, c.mark.Name, dryRun)
			})
		},
		func(context.Context) (f findings) {
			for _, path := range []string{c.subnetFile, c.subnetFile + ".waiting"} {
				f.addFile("file "+path, path)
			}
			for _, path := range []string{c.stateDir, c.runDir()} {
				if path != "" {
					f.addFile("folder "+path, path)
				}
			}
			return f
		},
		c.ofCNI,
	}
}

// runDir is where sockets of the network's are.
func (c cleanup) runDir() string { return filepath.Join(filepath.Dir(c.socket), c.mark.Name) }

// isServed asks the weftd that runs here whether it serves the network.
func (c cleanup) isServed(ctx context.Context) (bool, error) {
	body, err := fetchStatus(ctx, agentAddress{socket: c.socket})
	if err != nil {
		return false, err
	}
	var s network.Status
	if err := json.Unmarshal(body, &s); err != nil {
		return false, fmt.Errorf("the answer of %s is not a status of weftd: %w", c.socket, err)
	}
	return slices.ContainsFunc(s.Networks, func(x network.Status) bool { return x.Network == c.mark.Name }), nil
}

// mayRunBeside refuses where the weftd that runs here would put the network's things back.
func (c cleanup) mayRunBeside(ctx context.Context) error {
	agents, err := runningAgents("/proc")
	if err != nil {
		return fmt.Errorf("find out whether weftd runs here: %w; --force goes on without knowing", err)
	}
	if !slices.ContainsFunc(agents, func(a agentProcess) bool { return a.name == "weftd" }) {
		return nil
	}
	served, err := c.isServed(ctx)
	if err != nil {
		return fmt.Errorf("find out whether the weftd that runs here serves network %s: %w\n  --force goes on without knowing", c.mark.Name, err)
	}
	if served {
		return fmt.Errorf("weftd serves network %s and would put things back: start it without --network %s first, or go on with --force", c.mark.Name, c.network)
	}
	return nil
}
