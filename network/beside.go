package network

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// Beside keeps the agents of several networks on one node out of each other's way: no two may have the same mark or files, ranges of pods
// that overlap, or tunnels that the kernel could not tell apart. Who has something keeps it; who wants it too is refused with the
// reason. At the start those that were made first go first. All agents of a node are given the same Beside; its zero value is ready.
type Beside struct {
	mu      sync.Mutex
	all     []*berth // in the order in which their agents were made
	changes int
}

// berth is what one agent has.
type berth struct {
	mark     kernel.Mark
	files    []string
	ring     func() // has the agent look again
	has      bool   // networks and tunnels are set
	networks []netip.Prefix
	tunnels  []tunnel
}

// tunnel is what the packets of a tunnel are told apart by on a node.
type tunnel struct {
	port     uint16 // UDP; 0 where protocol is set
	protocol uint8  // of IP
	number   uint32 // inside of the packets, as VXLAN's VNI; 0 where there is none
}

// String names what of t others cannot have.
func (t tunnel) String() string {
	switch {
	case t.protocol != 0:
		return fmt.Sprintf("the tunnels of IP protocol %d", t.protocol)
	case t.number != 0:
		return fmt.Sprintf("number %d at UDP port %d", t.number, t.port)
	}
	return fmt.Sprintf("UDP port %d", t.port)
}

// clashes tells whether one node cannot have both.
func (t tunnel) clashes(o tunnel) bool {
	return t.port == o.port && t.protocol == o.protocol && (t.number == o.number || t.number == 0 || o.number == 0)
}

// errTaken says that another network of the node has what this one wants.
var errTaken = errors.New("another network of this node has it")

// networkText names a network for people.
func networkText(m kernel.Mark) string {
	if m == (kernel.Mark{}) {
		return "the first network"
	}
	return "network " + m.Name
}

// join adds an agent. It is an error where another one has its mark or one of its files.
func (b *Beside) join(m kernel.Mark, ring func(), files ...string) (*berth, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, o := range b.all {
		switch {
		case m.Name == o.mark.Name:
			errs = append(errs, fmt.Errorf("%s is there twice", networkText(m)))
		case m.Number == o.mark.Number:
			errs = append(errs, fmt.Errorf("%s has the number %d of %s", networkText(m), m.Number, networkText(o.mark)))
		}
		for _, file := range files {
			for _, other := range o.files {
				if file != "" && other != "" && filepath.Clean(file) == filepath.Clean(other) {
					errs = append(errs, fmt.Errorf("%s would write %s, as %s does", networkText(m), file, networkText(o.mark)))
				}
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	x := &berth{mark: m, files: files, ring: ring}
	b.all = append(b.all, x)
	return x, nil
}

// take makes want what x has. It is an error, which is errTaken, where that overlaps with what another one has; x keeps what it has then.
func (b *Beside) take(x *berth, networks []netip.Prefix, tunnels []tunnel) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, o := range b.all {
		if o == x || !o.has {
			continue
		}
		for _, p := range networks {
			for _, q := range o.networks {
				if p.Overlaps(q) {
					errs = append(errs, fmt.Errorf("%w: network %s overlaps with %s of %s", errTaken, p, q, networkText(o.mark)))
				}
			}
		}
		for _, t := range tunnels {
			for _, u := range o.tunnels {
				if t.clashes(u) {
					errs = append(errs, fmt.Errorf("%w: the backend needs %s, and %s uses %s; choose another VNI or port in Backend", errTaken, t, networkText(o.mark), u))
				}
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	x.has, x.networks, x.tunnels = true, networks, tunnels
	b.changes++
	for _, o := range b.all {
		if o != x {
			o.ring()
		}
	}
	return nil
}

// version grows with every take.
func (b *Beside) version() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changes
}

// before is an agent that was made before x and has taken nothing yet; ok is false where all have.
func (b *Beside) before(x *berth) (m kernel.Mark, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.all {
		if o == x {
			break
		}
		if !o.has {
			return o.mark, true
		}
	}
	return m, false
}

// disown says of devices that are another network's that they are none of the host's.
func (b *Beside) disown(facts *kernel.Facts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range facts.Devices {
		d := &facts.Devices[i]
		for _, o := range b.all {
			d.Ours = d.Ours || o.mark.Owns(d.Name, d.Kind)
		}
	}
}

// giveWayFor is how long an agent leaves those that were made before it the choice, where it has no config of before.
const giveWayFor = 5 * time.Second

// giveWay is an error for as long as the agent leaves others the choice.
func (a *Agent) giveWay(now time.Time) error {
	if a.loop.have || a.berth.has {
		return nil
	}
	if other, ok := a.o.Beside.before(a.berth); ok && now.Sub(a.born) < giveWayFor {
		return fmt.Errorf("%s comes first and has no config yet", networkText(other))
	}
	return nil
}

// takeShare makes the networks and tunnels of a config this agent's.
func (a *Agent) takeShare(c subnet.Config, b backend.Backend) error {
	networks, tunnels := shareOf(c, b)
	a.loop.seen = a.o.Beside.version()
	return a.o.Beside.take(a.berth, networks, tunnels)
}

// isMoved tells whether others have taken something else since this agent tried.
func (a *Agent) isMoved() bool { return a.loop.taken && a.o.Beside.version() != a.loop.seen }

// keepShare takes what the saved config of this node says, so that who starts earlier does not get it. What is wrong with that config
// is told when it is needed.
func (a *Agent) keepShare() {
	s, err := subnet.LoadSaved(a.o.StateFile)
	if err != nil || s.Own.Node != a.o.Node {
		return
	}
	config, _, err := subnet.Parse(s.Config)
	if err != nil {
		return
	}
	if b, _, err := a.o.Backend(config.Backend, config.BackendConfig); err == nil {
		_ = a.takeShare(config, b)
	}
}

// shareOf is what a network needs for itself.
func shareOf(c subnet.Config, b backend.Backend) (networks []netip.Prefix, tunnels []tunnel) {
	number := uint32(0)
	if x, ok := b.(backend.Numbered); ok {
		number = x.Number()
	}
	for _, f := range subnet.Families {
		if !c.Networks[f].Enabled() {
			continue
		}
		for _, n := range c.All(f) {
			networks = append(networks, n.Prefix)
		}
		if x, ok := b.(backend.Carrier); ok {
			tunnels = append(tunnels, tunnel{protocol: x.Protocol(f)})
		}
	}
	for _, port := range b.Ports() {
		tunnels = append(tunnels, tunnel{port: port, number: number})
	}
	return networks, tunnels
}
