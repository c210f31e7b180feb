package main

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// add attaches a pod: it waits for the node's subnet, keeps what it is about to tell the delegate, and prints the
// delegate's result in the version that was asked for.
func (p plugin) add(args *skel.CmdArgs) error {
	ctx := context.Background()
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	env, err := c.waitForEnv(ctx)
	if err != nil {
		return err
	}
	d, err := c.delegate(env)
	if err != nil {
		return err
	}
	hint := p.followLease(c, env, d)
	if err := (records{c.DataDir}).put(args.ContainerID, args.IfName, d.conf); err != nil {
		return types.NewError(types.ErrIOFailure, err.Error(), "")
	}
	result, err := p.runForResult(ctx, d, callOf("ADD", args))
	if err != nil {
		return withHint(err, hint)
	}
	if err := types.PrintResult(result, c.CNIVersion); err != nil {
		return types.NewError(types.ErrInternal, fmt.Sprintf("result of delegate %q as version %s: %v", d.kind, c.CNIVersion, err), "")
	}
	return nil
}
