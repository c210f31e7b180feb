package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
)

// add attaches a pod: it waits for the node's subnet, keeps what it is about to tell the delegate, and prints the
// delegate's result in the version that was asked for.
func (p plugin) add(args *skel.CmdArgs) error {
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	env, err := c.waitForEnv(context.Background())
	if err != nil {
		return err
	}
	d, err := c.delegate(env)
	if err != nil {
		return err
	}
	var hint string
	if bridge, ok := bridgeName(d); ok {
		p.mendMAC(bridge)
		hint = p.followLease(c, env, d, bridge)
	}
	if err := (records{c.DataDir}).put(args.ContainerID, args.IfName, d.conf); err != nil {
		return types.NewError(types.ErrIOFailure, err.Error(), "")
	}
	printed, err := p.run(d, callOf("ADD", args))
	if err != nil {
		return withRemedy(withHint(err, hint), env)
	}
	result, err := parseResult(printed, c.CNIVersion)
	if err == nil {
		err = types.PrintResult(result, c.CNIVersion)
	}
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, fmt.Sprintf("result of ADD by delegate %q: %v", d.kind, err), "")
	}
	return nil
}

// parseResult reads the result that a delegate printed. One that does not say its version has the version that the
// delegate was asked for: old plugins leave it out.
func parseResult(printed []byte, asked string) (types.Result, error) {
	said := struct {
		CNIVersion string `json:"cniVersion"`
	}{}
	if err := json.Unmarshal(printed, &said); err != nil {
		return nil, fmt.Errorf("read %q: %w", printed, err)
	}
	if said.CNIVersion != "" {
		return create.Create(said.CNIVersion, printed)
	}
	var result object
	if err := json.Unmarshal(printed, &result); err != nil || result == nil {
		return nil, fmt.Errorf("read %q: it is no object", printed)
	}
	result.set("cniVersion", asked)
	return create.Create(asked, encode(result))
}
