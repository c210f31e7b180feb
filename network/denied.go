package network

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weft-network/weft/network/kernel"
)

// deny notes the parameters that cannot be set from here, and takes them out of what was put. They are a warning and no
// failure: what else the network needs is done, and whoever may set parameters on the host, such as the plugin bridge
// when it makes a pod, may set these too.
func (l *loop) deny(denied map[kernel.Sysctl]error, put *kernel.State) {
	if len(denied) == 0 {
		return
	}
	if l.denied == nil {
		l.denied = map[kernel.Sysctl]error{}
	}
	maps.Copy(l.denied, denied)
	put.Sysctls = maps.Clone(put.Sysctls)
	maps.DeleteFunc(put.Sysctls, func(_ string, s kernel.Sysctl) bool { return denied[s] != nil })
}

// denials are the warnings about them, each with the remedy.
func (l *loop) denials() []string {
	var list []string
	for s, err := range l.denied {
		list = append(list, fmt.Sprintf("a kernel parameter is wrong and weftd cannot set it: run on the host %q, or let weftd write it (--sysctl-dir): %v", s.Command(), err))
	}
	slices.Sort(list)
	return list
}
