package network

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weft-network/weft/subnet"
)

// errInUse says that a network cannot be taken away yet.
var errInUse = errors.New("a network is in use")

// inUse tells which subnets of other nodes are in the networks of the config in force and would be in none of the new
// one's: the pods there could be reached no more.
func (a *Agent) inUse(c subnet.Config) error {
	before := a.loop.config
	var lost []subnet.Lease
	a.picture.each(func(x subnet.Lease) {
		for _, f := range subnet.Families {
			p := x.Subnets[f]
			if x.Node != a.o.Node && c.Networks[f].Enabled() && subnet.Contain(before.All(f), p) && !subnet.Contain(c.All(f), p) {
				lost = append(lost, x)
				return
			}
		}
	})
	if len(lost) == 0 {
		return nil
	}
	first := slices.MinFunc(lost, func(x, y subnet.Lease) int { return x.Subnets.Compare(y.Subnets) })
	who := "node " + first.Node
	if first.Node == "" {
		who = "the node at " + first.Addresses()
	}
	if more := len(lost) - 1; more > 0 {
		who += fmt.Sprintf(", one of %d such nodes,", more+1)
	}
	return fmt.Errorf("%w: %s has the subnets %s, which are not inside the new network %s; a network can be taken away when no node has a subnet in it",
		errInUse, who, first.Subnets, networksText(c))
}
