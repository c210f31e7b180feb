package kube

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weft-network/weft/subnet"
)

// refusal tells whether an error is an answer of the API server rather than the lack of one.
func refusal(err error) bool { return apierrors.IsNotFound(err) }

// Claim implements subnet.Store: the subnets are the Node's pod CIDRs, of whatever length, and want.Attrs is written
// into its annotations where it differs. It waits for the answer of another agent, and until what it wrote is seen. Beside
// the errors of the contract there are those that say that the Node, or a pod CIDR of it, is not there yet, or not inside the config's networks.
func (s *Store) Claim(ctx context.Context, want subnet.Want) (subnet.Lease, error) {
	s.claims.Lock()
	defer s.claims.Unlock()
	if want.Attrs.Node != s.o.Node {
		return subnet.Lease{}, fmt.Errorf("claiming the pod CIDR of Node %s: this store is that of Node %s", want.Attrs.Node, s.o.Node)
	}
	n, err := s.node(ctx)
	if err != nil {
		return subnet.Lease{}, err
	}
	if _, err := s.subnets(n, want.Config); err != nil {
		return subnet.Lease{}, err
	}
	if err := s.unrivalled(ctx, want.Attrs); err != nil {
		return subnet.Lease{}, err
	}
	if n, err = s.settle(ctx, n, want.Attrs); err != nil {
		return subnet.Lease{}, err
	}
	before := n.ResourceVersion
	if n, err = s.announce(ctx, n, want.Attrs); err != nil {
		return subnet.Lease{}, err
	}
	if n.ResourceVersion != before {
		s.unproven = number(n.ResourceVersion)
	}
	if err := s.prove(ctx, want.Attrs); err != nil {
		return subnet.Lease{}, err
	}
	l, err := s.notes.lease(n)
	if err != nil {
		return l, fmt.Errorf("reading back what Node %s announces: %w", n.Name, err)
	}
	if _, err := s.subnets(n, want.Config); err != nil {
		return subnet.Lease{}, err // another Node has come under this name meanwhile
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = l
	return l, nil
}

// node reads the own Node.
func (s *Store) node(ctx context.Context) (*Node, error) {
	var n *Node
	err := s.request(ctx, "read Node "+s.o.Node, func(ctx context.Context, c *client) (err error) {
		n, err = c.get(ctx, s.o.Node)
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the cluster has no Node %s yet: its kubelet makes it when it joins; if the node is known by another name, set NODE_NAME or --node-name", s.o.Node)
	}
	return n, err
}

// subnets returns what a Node leases under a config.
func (s *Store) subnets(n *Node, c subnet.Config) (subnet.Subnets, error) {
	cidrs, err := podCIDRs(n)
	if err != nil {
		return cidrs, fmt.Errorf("Node %s: %w", n.Name, err)
	}
	if cidrs.IsZero() {
		return cidrs, fmt.Errorf("Node %s has no pod CIDR yet: kube-controller-manager gives it one when it runs with --allocate-node-cidrs and --cluster-cidr %s", n.Name, networks(c))
	}
	var own subnet.Subnets
	for f, first := range c.Networks {
		p, all := cidrs[f], c.All(subnet.Family(f))
		switch {
		case !first.Enabled():
			continue
		case !p.IsValid():
			err = fmt.Errorf("Node %s has no %s pod CIDR, only %s: give kube-controller-manager --cluster-cidr %s, or turn %s off in net-conf.json",
				n.Name, subnet.Family(f), cidrs, networks(c), subnet.Family(f))
		case !subnet.Contain(all, p) && len(all) == 1:
			err = fmt.Errorf("pod CIDR %s of Node %s is not inside the network %s of net-conf.json: make the network the --cluster-cidr of kube-controller-manager", p, n.Name, first.Prefix)
		case !subnet.Contain(all, p):
			err = fmt.Errorf("pod CIDR %s of Node %s is not inside one of the networks %s of net-conf.json: add the network that it is a part of to Networks", p, n.Name, prefixes(all))
		}
		if err != nil {
			return own, err
		}
		own[f] = p
	}
	return own, nil
}

// prefixes lists networks for people.
func prefixes(networks []subnet.Network) string {
	var words []string
	for _, n := range networks {
		words = append(words, n.Prefix.String())
	}
	return strings.Join(words, ", ")
}

// networks names the first networks of a config, as --cluster-cidr wants them.
func networks(c subnet.Config) string {
	var all subnet.Subnets
	for f, n := range c.Networks {
		all[f] = n.Prefix
	}
	return all.String()
}

// announce makes the Node carry attrs, and returns it as it is then. Where nothing differs nothing is written.
func (s *Store) announce(ctx context.Context, n *Node, attrs subnet.Attrs) (*Node, error) {
	changes := map[string]*string{}
	for key, want := range s.notes.encode(attrs) {
		if have, there := n.Annotations[key]; there != (want != nil) || there && have != *want {
			changes[key] = want
		}
	}
	if len(changes) == 0 {
		return n, nil
	}
	n, err := s.annotate(ctx, changes)
	if err == nil {
		s.log.WithField("annotations", strings.Join(keys(changes), " ")).Info("Node annotated")
	}
	return n, err
}
