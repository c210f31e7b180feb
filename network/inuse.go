package network

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weft-network/weft/subnet"
)

// errInUse says that a network cannot be taken away yet.
var errInUse = errors.New("a network is in use")

// inUseSince is inUse for an agent that starts: the config of before is the saved one. A node whose own subnets are not in the new
// networks gets others, which is how a cluster changes its network altogether.
func (a *Agent) inUseSince(c subnet.Config) error {
	s, err := subnet.LoadSaved(a.o.StateFile)
	if err != nil || s.Own.Node != a.o.Node || !c.Covers(s.Own.Subnets) {
		return nil //nolint:nilerr // without a config of before, there is nothing to compare with
	}
	before, _, err := subnet.Parse(s.Config)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	return a.inUse(before, c)
}

// inUse tells which subnets of other nodes are in the networks of the config of before and would be in none of the new
// one's: the pods there could be reached no more.
func (a *Agent) inUse(before, c subnet.Config) error {
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
