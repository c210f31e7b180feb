package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// plugin carries out the commands of the CNI. Its methods add, del, check, status and gc are what skel calls; they
// return a *types.Error wherever the CNI has a code for what went wrong.
type plugin struct {
	exec invoke.Exec // finds and runs delegates
	log  *log.Logger // what a command got over without failing
}

// call is one call of a delegate.
type call struct {
	command     string
	containerID string
	netns       string
	ifName      string
	args        string
	path        string
}

// callOf returns the call that passes on a call of this plugin.
func callOf(command string, args *skel.CmdArgs) call {
	return call{command, args.ContainerID, args.Netns, args.IfName, args.Args, args.Path}
}

// errNotInstalled says that there is no plugin of the delegate's name where plugins are.
var errNotInstalled = errors.New("delegate is not installed")

// find returns where the delegate's binary is.
func (p plugin) find(kind, path string) (string, error) {
	binary, err := p.exec.FindInPath(kind, filepath.SplitList(path))
	if err != nil {
		return "", fmt.Errorf("%w: no plugin %q in %s: install it there, or name another in \"delegate\"", errNotInstalled, kind, path)
	}
	return binary, nil
}

// run has the delegate carry out a command that has no result.
func (p plugin) run(ctx context.Context, d delegate, c call) error {
	binary, err := p.find(d.kind, c.path)
	if err != nil {
		return err
	}
	return fromDelegate(d, c, invoke.ExecPluginWithoutResult(ctx, binary, encode(d.conf), c.environ(), p.exec))
}

// runForResult has the delegate carry out ADD.
func (p plugin) runForResult(ctx context.Context, d delegate, c call) (types.Result, error) {
	binary, err := p.find(d.kind, c.path)
	if err != nil {
		return nil, err
	}
	result, err := invoke.ExecPluginWithResult(ctx, binary, encode(d.conf), c.environ(), p.exec)
	return result, fromDelegate(d, c, err)
}

// environ is the call as the environment of the delegate.
func (c call) environ() *invoke.Args {
	return &invoke.Args{
		Command: c.command, ContainerID: c.containerID, NetNS: c.netns, IfName: c.ifName, PluginArgsStr: c.args, Path: c.path,
	}
}

// fromDelegate says in an error of a delegate whose it is, and keeps its code. It returns nil for nil.
func fromDelegate(d delegate, c call, err error) error {
	if err == nil {
		return nil
	}
	msg := fmt.Sprintf("%s by delegate %q", c.command, d.kind)
	var said *types.Error
	if errors.As(err, &said) {
		code := said.Code
		if code == types.ErrUnknown {
			code = types.ErrInternal
		}
		return types.NewError(code, msg+": "+said.Msg, said.Details)
	}
	return types.NewError(types.ErrInternal, msg+": "+err.Error(), "")
}
