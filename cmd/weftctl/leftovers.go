package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/masq"
	"github.com/weft-network/weft/subnet"
)

// allInKernel finds the devices and routes that are Weft's, or flannel's and look the same: it is the agent's own code with nothing
// wanted.
func (c cleanup) allInKernel(ctx context.Context, scope kernel.Scope) findings {
	k, err := c.open()
	if err != nil {
		return findings{err: err}
	}
	defer k.Close()
	have, err := k.List(ctx, scope, nil)
	if err != nil {
		return findings{err: err}
	}
	return c.inKernel(c.describe(kernel.Diff(have, kernel.State{}).Drop))
}

// inKernel are the findings of what is to be dropped from the kernel.
func (c cleanup) inKernel(drop kernel.State, what []string) findings {
	if len(what) == 0 {
		return findings{}
	}
	return findings{found: []leftover{{what, func(ctx context.Context) error {
		k, err := c.open()
		if err != nil {
			return err
		}
		defer k.Close()
		return k.Apply(ctx, kernel.Change{Drop: drop})
	}}}}
}

// describe returns a line for each thing in s, and s without what goes by itself when its device goes.
func (c cleanup) describe(s kernel.State) (kernel.State, []string) {
	inside := map[string]int{}
	on := func(link string) bool {
		if _, goes := s.Links[link]; goes {
			inside[link]++
			return true
		}
		return false
	}
	maps.DeleteFunc(s.Addrs, func(_ kernel.Addr, a kernel.Addr) bool { return on(a.Link) })
	maps.DeleteFunc(s.Routes, func(_ kernel.RouteKey, r kernel.Route) bool { return on(r.Link) })
	maps.DeleteFunc(s.Neighbours, func(_ kernel.NeighbourKey, n kernel.Neighbour) bool { return on(n.Link) })
	maps.DeleteFunc(s.Forwards, func(_ kernel.ForwardKey, f kernel.Forward) bool { return on(f.Link) })
	maps.DeleteFunc(s.WireGuardPeers, func(_ kernel.WireGuardPeerKey, p kernel.WireGuardPeer) bool { return on(p.Link) })
	var what []string
	for _, name := range slices.Sorted(maps.Keys(s.Links)) {
		what = append(what, fmt.Sprintf("%s, with %d addresses, routes, neighbours and other entries", s.Links[name], inside[name]))
	}
	rest := s
	rest.Links = nil
	return s, append(what, lines(c.mark.Words(rest.String()))...)
}

func lines(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(s string) bool { return s == "" })
}

// scope says by which networks routes of flannel's are recognized, from everything that may know them.
func (c cleanup) scope() (s kernel.Scope, notes []string, err error) {
	add := func(p netip.Prefix, length int) {
		n := kernel.Subnetwork{Prefix: p.Masked(), SubnetLen: length}
		if p.IsValid() && length >= 0 && !slices.Contains(s.Networks, n) {
			s.Networks = append(s.Networks, n)
		}
	}
	unreadable := func(err error) {
		if !errors.Is(err, fs.ErrNotExist) {
			notes = append(notes, err.Error())
		}
	}
	config := ""
	if c.config != "" {
		text, err := os.ReadFile(c.config)
		if err != nil {
			return s, nil, fmt.Errorf("read the network config: %w", err)
		}
		config = string(text)
	} else if saved, err := subnet.LoadSaved(c.saved()); err == nil {
		config = saved.Config
	} else {
		unreadable(err)
	}
	if config != "" {
		parsed, _, err := subnet.Parse(config)
		if err != nil {
			return s, nil, fmt.Errorf("read the network config: %w", err)
		}
		for _, f := range subnet.Families {
			for _, n := range parsed.All(f) {
				add(n.Prefix, n.SubnetLen)
			}
		}
	}
	env, err := subnet.ReadEnv(c.subnetFile)
	if err != nil {
		unreadable(err)
	}
	for _, p := range env.All() {
		add(p, env.Subnets[subnet.FamilyOf(p.Addr())].Bits())
	}
	if len(s.Networks) == 0 {
		notes = append(notes, "the cluster's network is not known here any more: routes of flannel's host-gw mode are not recognized without --config")
	}
	return s, notes, nil
}

// devices finds the devices that fit.
func devices(ctx context.Context, fits func(kernel.Device) bool) findings {
	k, err := kernel.Open()
	if err != nil {
		return findings{err: err}
	}
	defer k.Close()
	facts, err := k.Facts(ctx)
	if err != nil {
		return findings{err: err}
	}
	var f findings
	for _, d := range facts.Devices {
		if fits(d) {
			f.found = append(f.found, leftover{[]string{d.Kind + " device " + d.Name}, removeDevice(d.Name)})
		}
	}
	return f
}

func removeDevice(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		k, err := kernel.Open()
		if err != nil {
			return err
		}
		defer k.Close()
		return k.Remove(ctx, name)
	}
}

// inFirewall finds the rules of both.
func (c cleanup) inFirewall(ctx context.Context) findings {
	return rules(ctx, firstRules, masq.CleanFlannel)
}

// firstRules removes the rules of the first network.
func firstRules(ctx context.Context, dryRun bool) ([]string, error) {
	return masq.CleanAll(ctx, "", dryRun)
}

// rules finds what some ways to clean up would remove from the firewall.
func rules(ctx context.Context, ways ...func(ctx context.Context, dryRun bool) ([]string, error)) findings {
	var f findings
	var errs []error
	for _, clean := range ways {
		what, err := clean(ctx, true)
		errs = append(errs, err)
		if len(what) > 0 {
			f.found = append(f.found, leftover{what, func(ctx context.Context) error {
				_, err := clean(ctx, false)
				return err
			}})
		}
	}
	f.err = errors.Join(errs...)
	return f
}

// saved is the file of the last known leases.
func (c cleanup) saved() string { return filepath.Join(c.stateDir, "leases.json") }

// files finds what weftd keeps on disk.
func (c cleanup) files(context.Context) findings {
	return c.own([]string{c.subnetFile, c.subnetFile + ".waiting", c.saved(), filepath.Join(c.stateDir, "wireguard.key")})
}

// own finds these files of weftd's, and its socket.
func (c cleanup) own(paths []string) findings {
	var f findings
	if conn, err := net.Dial("unix", c.socket); err == nil {
		conn.Close() // of an agent that lives on, with --force
	} else {
		paths = append(paths, c.socket)
	}
	for _, path := range paths {
		f.addFile("file "+path, path)
	}
	for _, path := range c.unfinished() {
		f.addFile("unfinished file "+path, path)
	}
	return f
}

// addFile adds a file or folder, if it is there.
func (f *findings) addFile(what, path string) {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		f.err = errors.Join(f.err, err)
	default:
		f.found = append(f.found, leftover{[]string{what}, func(context.Context) error { return os.RemoveAll(path) }})
	}
}
