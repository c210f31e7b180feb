package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/weft-network/weft/subnet"
)

// withRemedy adds to an error of host-local that no address is left what can be done about it.
func withRemedy(err error, env subnet.Env) error {
	var said *types.Error
	if !errors.As(err, &said) || !strings.Contains(said.Msg, "no IP addresses available in range set") {
		return err
	}
	which := "subnet"
	for _, own := range env.Subnets {
		if own.IsValid() && strings.Contains(said.Msg, own.Addr().String()+"-") {
			which = "subnet " + own.Masked().String()
		}
	}
	remedy := fmt.Sprintf("every address of this node's %s is held by a pod: the pod starts when another one here ends; "+
		"let the node take fewer pods (maxPods of its kubelet), or give nodes larger subnets", which)
	return types.NewError(said.Code, said.Msg, strings.TrimPrefix(said.Details+"; "+remedy, "; "))
}
