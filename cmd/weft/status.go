package main

import (
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"
)

// status says whether a pod could be attached now. It does not wait. What weftd waits for is no reason against it while
// there is a subnet: a runtime that is told of anything here calls the node not ready, and after some minutes its pods,
// which talk as before, would be evicted.
func (p plugin) status(args *skel.CmdArgs) error {
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	env, err := c.env()
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, "this node has no subnet for pods", c.whyNot(err))
	}
	d, err := c.delegate(env)
	if err != nil {
		return err
	}
	if _, err := find(d.kind, args.Path); err != nil {
		return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
	}
	if ok, err := p.speaksNewest(d, args.Path); !ok {
		return err
	}
	_, err = p.run(d, callOf("STATUS", args))
	return err
}

// speaksNewest tells whether the delegate knows the commands STATUS and GC, which are new in version 1.1.0 of the CNI.
func (p plugin) speaksNewest(d delegate, path string) (bool, error) {
	// Plugins of old want to be told of a container also when they are only asked for their versions.
	printed, err := p.run(d, call{command: "VERSION", containerID: "none", netns: "none", ifName: "none", path: path})
	if err != nil && strings.Contains(err.Error(), "unknown CNI_COMMAND") {
		return false, nil // older than the command VERSION
	}
	if err != nil {
		return false, err
	}
	info, err := (&cniversion.PluginDecoder{}).Decode(printed)
	if err != nil {
		return false, types.NewError(types.ErrPluginNotAvailable, fmt.Sprintf("delegate %q does not say which versions of the CNI it speaks", d.kind), err.Error())
	}
	for _, v := range info.SupportedVersions() {
		if ok, err := cniversion.GreaterThanOrEqualTo(v, "1.1.0"); ok && err == nil {
			return true, nil
		}
	}
	return false, nil
}
