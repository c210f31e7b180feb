package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/lab"
	"github.com/weft-network/weft/subnet"
)

// The playground is pods of all nodes behind one Service, and a server outside of the cluster.
const (
	playgroundService = "pods"
	playgroundPort    = 30080 // of every node
	outsidePort       = 8080
)

// Play fills the cluster with so many pods on each node, a Service of them all, and a server outside. It is for clusters that
// have a pod network.
func (c *Cluster) Play(ctx context.Context, each int) error {
	for _, n := range c.Nodes {
		for i := range each {
			c.playing = append(c.playing, &Pod{Name: n.Name() + string(rune('a'+i)), Node: n, Labels: map[string]string{"playground": "pods"}})
		}
	}
	if err := c.RunPods(ctx, c.playing...); err != nil {
		return err
	}
	if err := c.Apply(ctx, c.playgroundManifest()); err != nil {
		return fmt.Errorf("make the Service: %w", err)
	}
	program := filepath.Join(programDir, "pod")
	world, err := startProcess("the server outside", filepath.Join(c.dir, "outside.log"), exec.Command(program, "serve", strconv.Itoa(outsidePort)))
	if err != nil {
		return err
	}
	c.world = world
	c.o.Progress(fmt.Sprintf("%d pods run on each node, behind one Service", each))
	return nil
}

func (c *Cluster) playgroundManifest() string {
	families := ""
	if len(c.o.Families) == 2 {
		families = "  ipFamilyPolicy: RequireDualStack\n"
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
%s  type: NodePort
  selector: {playground: pods}
  ports: [{name: tcp, port: 80, protocol: TCP, nodePort: %[3]d}, {name: udp, port: 80, protocol: UDP, nodePort: %[3]d}]
`, playgroundService, families, playgroundPort)
}

// reply is what an asker learns.
type reply struct {
	name      string
	seen, own netip.Addr // the asker's address as it was seen, and by its own account
	took      time.Duration
}

// parseReply reads what "pod ask" printed.
func parseReply(text string) (a reply, err error) {
	words := strings.Fields(text)
	if len(words) != 4 {
		return a, fmt.Errorf("read a reply: %q has %d words in place of 4", text, len(words))
	}
	seen, err1 := netip.ParseAddrPort(words[1])
	own, err2 := netip.ParseAddrPort(words[2])
	took, err3 := time.ParseDuration(words[3])
	if err := errors.Join(err1, err2, err3); err != nil {
		return a, fmt.Errorf("read a reply: %w", err)
	}
	return reply{words[0], seen.Addr().Unmap(), own.Addr().Unmap(), took}, nil
}

// asker runs the program pod somewhere.
type asker func(args ...string) (string, error)

func (p *Pod) asker() asker {
	return func(args ...string) (string, error) { return p.Run(append([]string{"pod"}, args...)...) }
}

func (n *Node) asker() asker {
	return func(args ...string) (string, error) { return n.Run("pod", args...) }
}

// outside asks from outside of the cluster.
func outside(f subnet.Family) asker {
	return func(args ...string) (string, error) {
		args = append([]string{args[0], "-from", Outside()[f].String()}, args[1:]...)
		out, err := exec.Command(filepath.Join(programDir, "pod"), args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("ask from outside: %w\n%s", err, out)
		}
		return string(out), err
	}
}

// ask asks something that serves over UDP, in packets of so many bytes beside their headers.
func (a asker) ask(to netip.Addr, port uint16, size int) (reply, error) {
	out, err := a("ask", "-bytes", strconv.Itoa(size), "udp", netip.AddrPortFrom(to, port).String())
	if err != nil {
		return reply{}, err
	}
	return parseReply(out)
}

// pairsAtOnce is how many pairs are tried at the same time.
const pairsAtOnce = 4

// Matrix tries everything between the pods of the playground, from all nodes to all of these, and from these to the outside.
func (c *Cluster) Matrix(ctx context.Context) (lab.Matrix, error) {
	m := lab.Matrix{Families: c.o.Families}
	mtu, err := c.podMTU()
	if err != nil {
		return m, err
	}
	var trials []func() lab.Check
	for _, f := range c.o.Families {
		for _, from := range c.playing {
			for _, to := range c.playing {
				if from != to {
					trials = append(trials, pair(from, to, f, mtu)...)
				}
			}
			trials = append(trials, func() lab.Check {
				return masqueraded(from, f)
			})
		}
		for _, n := range c.Nodes {
			for _, to := range c.playing {
				trials = append(trials, func() lab.Check { return check(lab.Answer, n.Name(), n.asker(), to, f, small) })
			}
		}
	}
	for _, p := range c.playing {
		m.From, m.To = append(m.From, p.Name), append(m.To, p.Name)
	}
	m.From = append(m.From, c.nodeNames()...)
	m.Checks = make([]lab.Check, len(trials))
	var g errgroup.Group
	g.SetLimit(pairsAtOnce)
	for i, trial := range trials {
		g.Go(func() error {
			if ctx.Err() == nil {
				m.Checks[i] = trial()
			}
			return nil
		})
	}
	_ = g.Wait() // failures are in the checks
	return m, ctx.Err()
}

// small is the size of an ordinary packet, with all headers.
const small = 84

// headers are the sizes of what comes before the load of a UDP packet.
func headers(f subnet.Family) int { return [...]int{20 + 8, 40 + 8}[f] }

// podMTU is the MTU of the pods' devices.
func (c *Cluster) podMTU() (int, error) {
	if len(c.playing) == 0 {
		return 0, errors.New("there are no pods to try: Weft is not installed by this command")
	}
	text, err := c.playing[0].Run("pod", "mtu", "eth0")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(text))
}

// pair is what is tried between two pods.
func pair(from, to *Pod, f subnet.Family, mtu int) []func() lab.Check {
	return []func() lab.Check{
		func() lab.Check { return check(lab.Answer, from.Name, from.asker(), to, f, small) },
		func() lab.Check { return check(lab.FullSize, from.Name, from.asker(), to, f, mtu) },
		func() lab.Check {
			c := lab.Check{Kind: lab.Source, Family: f, From: from.Name, To: to.Name}
			a, err := from.asker().ask(to.Addrs[f], 80, 0)
			if err == nil && a.seen != from.Addrs[f] {
				err = fmt.Errorf("it sees %s in place of %s", a.seen, from.Addrs[f])
			}
			c.Err = err
			return c
		},
	}
}

// check asks once.
func check(kind lab.Kind, from string, a asker, to *Pod, f subnet.Family, size int) lab.Check {
	c := lab.Check{Kind: kind, Family: f, From: from, To: to.Name, Size: size}
	said, err := a.ask(to.Addrs[f], 80, size-headers(f))
	if err == nil && said.name != to.Name {
		err = fmt.Errorf("%s answers", said.name)
	}
	c.Time, c.Err = said.took, err
	return c
}

// masqueraded asks whom the world outside sees.
func masqueraded(from *Pod, f subnet.Family) lab.Check {
	c := lab.Check{Kind: lab.Outside, Family: f, From: from.Name, To: "outside"}
	a, err := from.asker().ask(Outside()[f], outsidePort, 0)
	if err == nil && a.seen != from.Node.Addr(f) {
		err = fmt.Errorf("it sees %s in place of %s", a.seen, from.Node.Addr(f))
	}
	c.Err = err
	return c
}
