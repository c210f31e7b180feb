package network

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// podNamespaces are where container runtimes keep the network namespaces of pods: named files, else those of their processes.
var podNamespaces = [...]string{"/run/netns/*", "/run/docker/netns/*", "/proc/[0-9]*/ns/net"}

// podsSubject is what the warning is about that pods have another MTU than the node.
const podsSubject = "MTU of pods"

// resizePods lets the pods that are there follow the node's MTU, where they had the one that subnet.env said before: what somebody
// else has set stays. It is done before the file changes and once more afterwards, for pods that are attached at this moment; a
// node that is killed in between finds the old MTU in the file and does it again. Pods that cannot follow are tried again in
// each full pass.
func (a *Agent) resizePods(ctx context.Context, env subnet.Env) {
	from := a.loop.podMTU
	if before, err := subnet.ReadEnv(a.o.SubnetFile); err == nil && before.MTU != env.MTU {
		from = before.MTU
	}
	if from == 0 || from == env.MTU {
		return
	}
	var gateways []netip.Addr
	for _, p := range env.Subnets {
		if p.IsValid() {
			gateways = append(gateways, p.Addr())
		}
	}
	r, err := a.kern.Resize(ctx, kernel.PodPorts{Gateways: gateways, From: from, To: env.MTU, Namespaces: podNamespaces[:]})
	if ctx.Err() != nil {
		return
	}
	if len(r.Pods) > 0 {
		a.o.Log.WithFields(logrus.Fields{"bridge": r.Bridge, "pods": len(r.Pods), "from": from, "to": env.MTU}).Info("pods have another MTU")
	}
	a.loop.podMTU = from
	if len(r.Kept) == 0 && err == nil {
		a.loop.podMTU = 0
	}
	a.report.warn(a.o.Log, podsSubject, unsized(len(r.Kept), from, env.MTU, err))
}

// unsized is the warning about pods that keep their MTU; nothing where there are none.
func unsized(pods, from, to int, err error) []string {
	switch {
	case pods > 0:
		return []string{fmt.Sprintf("%s an MTU of %d until they are made again, and the node's is %d: packets that are too large for the "+
			"way to a peer are answered with the size that fits (%v)", plural(pods, "pod keeps", "pods keep"), from, to, err)}
	case err != nil:
		return []string{fmt.Sprintf("the pods' bridge could not be given an MTU of %d: %v", to, err)}
	}
	return nil
}

// plural is a number with the word for one or for several.
func plural(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
