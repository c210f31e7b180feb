package main

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"
)

// status says whether a pod could be attached now. It does not wait.
func (p plugin) status(args *skel.CmdArgs) error {
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	env, err := c.env()
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, "this node has no subnet for pods", c.whyNot(err))
	}
	if waiting := c.waiting(); waiting != "" {
		return types.NewError(types.ErrLimitedConnectivity, "pods on this node may not reach all others", "weftd is waiting: "+waiting)
	}
	d, err := c.delegate(env)
	if err != nil {
		return err
	}
	binary, err := p.find(d.kind, args.Path)
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
	}
	ctx := context.Background()
	if ok, err := p.speaksNewest(ctx, d, binary); !ok {
		return err
	}
	return p.run(ctx, d, callOf("STATUS", args))
}

// speaksNewest tells whether the delegate knows the commands STATUS and GC, which are new in version 1.1.0 of the CNI.
func (p plugin) speaksNewest(ctx context.Context, d delegate, binary string) (bool, error) {
	info, err := invoke.GetVersionInfo(ctx, binary, p.exec)
	if err != nil {
		return false, types.NewError(types.ErrPluginNotAvailable, fmt.Sprintf("delegate %q (%s) does not say which versions of the CNI it speaks", d.kind, binary), err.Error())
	}
	for _, v := range info.SupportedVersions() {
		if ok, err := cniversion.GreaterThanOrEqualTo(v, "1.1.0"); ok && err == nil {
			return true, nil
		}
	}
	return false, nil
}
