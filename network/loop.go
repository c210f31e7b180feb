package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// loop is the memory of the task that keeps the kernel, from one pass to the next. All of it can be lost at any
// time: the next pass is then a full one.
type loop struct {
	text    string // net-conf.json that was looked at last, whether it was taken or refused
	config  subnet.Config
	have    bool // config is set
	inUse   bool // text was refused because of leases, and is looked at again when these change
	taken   bool // text was refused because of another network of the node, and is looked at again when that one changes
	seen    int  // version of Beside by then
	choices choices

	secret   secret
	followed time.Time   // since when all peers have followed a change of the key; zero while some have not
	parted   bool        // the next plan is one of those in which nobody uses the devices of the config
	prepared preparation // for the backend of the config

	self    subnet.Self // by which the uplinks were chosen
	uplinks [2]backend.Uplink
	up      bool // uplinks are set

	works   map[kernel.Path]bool // what was seen to carry packets, of the paths that are tried; never changed, only replaced
	edition int                  // of works
	adopted bool                 // those that the kernel used before were taken over

	plan   plan
	set    bool // plan is set
	full   bool // the next pass must look at everything
	shared bool // two peers want the same object: changes of one cannot be told from the other's
	failed map[subnet.Subnets]error
	denied map[kernel.Sysctl]error // parameters that are wrong and cannot be set from here

	env    subnet.Env // what subnet.env says; zero where that is not known
	podMTU int        // what pods have that have not followed; 0 where all have, or it is not known
}

// pass makes the kernel hold what it should: for a change of few leases or a few broken objects just these, else
// everything.
func (a *Agent) pass(ctx context.Context) error {
	defer a.report.working(time.Now())()
	l := &a.loop
	n, h := a.picture.take(), a.wanted.take()
	l.full = l.full || n.all || h.all
	if err := errors.Join(a.giveWay(time.Now()), a.findKey(ctx)); err != nil {
		return a.fail(err)
	}
	if a.adopt(n); !l.have {
		a.report.waiting("agent", nil) // of before: it may have left others the choice
		return nil                     // another text rings the bell
	}
	if err := a.findUplinks(ctx, n.self, h.uplink); err != nil && !l.up {
		return a.fail(err)
	}
	if err := a.choose(n); err != nil {
		return a.fail(err)
	}
	a.keepKey()
	if err := a.prepare(ctx); err != nil {
		return a.fail(err)
	}
	own, err := a.lease(n)
	if err != nil || own == (subnet.Lease{}) {
		return a.fail(err)
	}
	if err := a.replan(ctx, own); err != nil {
		return a.fail(err)
	}
	if a.fileDoubted.Swap(false) || l.full {
		l.env = subnet.Env{} // what is in the file is looked at too
	}
	if l.full {
		err = a.fullPass(ctx, n.complete)
	} else {
		err = a.partialPass(ctx, n, h.dirty)
	}
	return a.finish(ctx, n.complete, err)
}

// fail keeps what this pass learned for the next one: it has to look at everything.
func (a *Agent) fail(err error) error {
	a.loop.full = true
	a.report.waiting("agent", err)
	return err
}

// adopt makes a new net-conf.json the one in force. One that is wrong, or that cannot be applied while running, is
// refused with the reason, and the old one stays.
func (a *Agent) adopt(n news) {
	l := &a.loop
	switch {
	case n.config == "" && !n.complete:
		a.report.waiting("config", errNoStore)
		return
	case n.config == "":
		a.report.waiting("config", noConfig(n.place))
		return
	case n.config == l.text && !(l.inUse && (n.all || len(n.changed) > 0)) && !a.isMoved():
		return
	}
	l.text = n.config
	text := n.config
	config, err := a.checkConfig(text, n.self.Assigned)
	if err == nil && !l.have {
		err = a.inUseSince(config)
	}
	l.inUse, l.taken = errors.Is(err, errInUse), errors.Is(err, errTaken)
	a.report.refused(a.o.Log, err)
	if err != nil && l.have {
		return
	}
	if err != nil {
		var errSaved error
		if text, config, errSaved = a.savedConfig(n.self.Assigned); errSaved != nil {
			a.report.waiting("config", fmt.Errorf("the network config cannot be used: %w", err))
			return
		}
	}
	a.report.waiting("config", nil)
	if l.have {
		a.o.Log.WithField("config", text).Info("network config changed")
	}
	l.config, l.have, l.full, l.set = config, true, true, false
	a.report.config(text)
}

// savedConfig is the last good config of this node, for an agent that starts where the one in the store cannot be used.
func (a *Agent) savedConfig(assigned subnet.Subnets) (string, subnet.Config, error) {
	s, err := subnet.LoadSaved(a.o.StateFile)
	if err == nil && s.Own.Node != a.o.Node {
		err = fmt.Errorf("it is that of %s", s.Own.Node)
	}
	if err != nil {
		return "", subnet.Config{}, err
	}
	config, err := a.checkConfig(s.Config, assigned)
	return s.Config, config, err
}

// errNoStore is what the node waits for at first.
var errNoStore = errors.New("the store has not answered yet")

// noConfig is what the node waits for then. place is where the store looks.
func noConfig(place string) error {
	return fmt.Errorf("there is no network config yet; put net-conf.json into %s", cmp.Or(place, "the store"))
}

// checkConfig parses a net-conf.json and tells whether it can be applied to the node as it runs. Subnets that the cluster
// assigned need not be those that the config would give.
func (a *Agent) checkConfig(text string, assigned subnet.Subnets) (subnet.Config, error) {
	config, warnings, err := subnet.Parse(text)
	if err != nil {
		return config, err
	}
	b, more, err := a.o.Backend(config.Backend, config.BackendConfig)
	if err == nil {
		err = backend.CheckMTU(config.Backend, b, config.Networks)
	}
	if err == nil && a.loop.have && a.loop.up {
		err = a.fitting(config)
	}
	if err != nil {
		return config, err
	}
	if held := a.claims.lease(); a.loop.have && held != (subnet.Lease{}) && assigned.IsZero() && !config.Holds(held.Subnets) {
		return config, fmt.Errorf("this node's subnets %s are not subnets of the new network %s; restart weftd on every node to give up the old ones", held.Subnets, networksText(config))
	}
	if a.loop.have && !assigned.IsZero() && !config.Covers(assigned) {
		return config, fmt.Errorf("the subnets %s, which the cluster assigned to this node, are not inside the new network %s", assigned, networksText(config))
	}
	if a.loop.have {
		if err := a.inUse(a.loop.config, config); err != nil {
			return config, err
		}
	}
	if err := a.takeShare(config, b); err != nil {
		return config, err
	}
	a.report.warn(a.o.Log, "net-conf.json", append(warnings, more...))
	return config, nil
}

// fitting tells whether the backend of a new config can be put beside those that are there.
func (a *Agent) fitting(c subnet.Config) error {
	ways, err := a.withConfigured(a.loop.choices.ways, c)
	if err != nil {
		return err
	}
	own := a.claims.lease()
	if own == (subnet.Lease{}) {
		return nil
	}
	node := a.nodeUnder(c, a.nodeOf(&ways[0], own).Kept)
	if _, prepares := ways[0].b.(backend.Preparer); !prepares {
		_, err = ways[0].b.Attrs(node)
	}
	var s kernel.State
	return errors.Join(err, ways[0].b.Base(node, own, &s))
}

// findUplinks chooses the uplinks again where they may have changed. An uplink that is lost for a while leaves the last one in force.
func (a *Agent) findUplinks(ctx context.Context, self subnet.Self, changed bool) error {
	l := &a.loop
	if l.up && l.set && !changed && l.self == self {
		return nil
	}
	l.self = self
	facts, err := a.kern.Facts(ctx)
	if err != nil {
		return fmt.Errorf("reading the host's devices: %w", err)
	}
	var families [2]bool
	for f, n := range l.config.Networks {
		families[f] = n.Enabled()
	}
	a.o.Beside.disown(&facts)
	ups, err := a.o.Uplink.with(self).choose(ctx, facts, a.kern, families)
	a.report.waiting("uplink", err)
	for _, f := range subnet.Families {
		if families[f] && !ups[f].Valid() {
			ups[f] = l.uplinks[f] // it may come back; nothing is torn down for it
		}
	}
	if err != nil && !(l.up && complete(ups, families)) {
		return err
	}
	if !l.up || !sameUplinks(ups, l.uplinks) {
		for f, u := range ups {
			if u.Valid() {
				a.o.Log.WithFields(uplinkFields(subnet.Family(f), u)).Info("uplink chosen")
			}
		}
		l.full, l.set = true, false
	}
	l.uplinks, l.up = ups, true
	a.report.uplinks(ups)
	return nil
}

func complete(ups [2]backend.Uplink, families [2]bool) bool {
	for f := range ups {
		if families[f] && !ups[f].Valid() {
			return false
		}
	}
	return true
}

// networksText names a config's networks.
func networksText(c subnet.Config) string {
	var all subnet.Subnets
	for f, n := range c.Networks {
		all[f] = n.Prefix
	}
	words := []string{all.String()}
	for _, n := range slices.Concat(c.Further[:]...) {
		words = append(words, n.Prefix.String())
	}
	return strings.Join(words, ",")
}
