package main

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/weft-network/weft/subnet"
)

// check verifies that a pod is attached as ADD left it: that DEL will know what ADD did, that the pod's addresses
// belong to the subnet that this node holds now, and whatever the delegate checks.
func (p plugin) check(args *skel.CmdArgs) error {
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	rec, err := records{c.DataDir}.find(c.Name, args.ContainerID, args.IfName)
	if err != nil {
		return types.NewError(types.ErrUnknownContainer, fmt.Sprintf("%s of container %s: %v", args.IfName, args.ContainerID, err), "")
	}
	d, ok := rec.delegate()
	if !ok {
		return types.NewError(types.ErrInternal, rec.path+" is damaged: recreate the pod", "")
	}
	if err := c.checkAddresses(d); err != nil {
		return err
	}
	_, err = p.run(d.withPrevResult(c), callOf("CHECK", args))
	return err
}

// checkAddresses says which address of the pod lies outside of the node's subnets, as happens to pods that are older
// than the node's lease. Nothing is said where host-local did not choose the addresses, or the subnets are not known.
func (c conf) checkAddresses(d delegate) error {
	var ipam struct{ Type string }
	if json.Unmarshal(d.conf["ipam"], &ipam) != nil || ipam.Type != "host-local" || !isSet(c.PrevResult) {
		return nil
	}
	env, err := c.env()
	if err != nil {
		return nil //nolint:nilerr // STATUS tells of it; the pod may be well
	}
	var result struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(c.PrevResult, &result); err != nil {
		return types.NewError(types.ErrDecodingFailure, "network config: key \"prevResult\" holds no result that can be read", err.Error())
	}
	for _, ip := range result.IPs {
		own := env.Subnets[subnet.FamilyOf(ip.Address.Addr())]
		if own.IsValid() && !own.Contains(ip.Address.Addr()) {
			return types.NewError(types.ErrInternal, fmt.Sprintf("address %s of container's interface is not in %s, the subnet that this node holds now: recreate the pod",
				ip.Address.Addr(), own.Masked()), "")
		}
	}
	return nil
}
