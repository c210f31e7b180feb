package storetest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-network/weft/subnet"
)

// The configs that cases run with.
const (
	single    = `{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`
	dual      = `{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/56", "Backend": {"Type": "vxlan"}}`
	sixOnly   = `{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:5::/56", "Backend": {"Type": "vxlan"}}`
	threeLeft = `{"Network": "10.5.0.0/22", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}` // the first of four is never leased
)

// bed is what a case works on.
type bed struct {
	*testing.T
	c      Cluster
	config subnet.Config
}

// configure makes text the cluster's config, and that of the wants that follow.
func (b *bed) configure(text string) {
	b.Helper()
	config, warnings, err := subnet.Parse(text)
	if err != nil || len(warnings) > 0 {
		b.Fatalf("config %s: %v %q", text, err, warnings)
	}
	b.config = config
	b.c.SetConfig(text)
}

// want is what the node with this number asks for: its addresses follow from the number.
func (b *bed) want(number int) subnet.Want {
	w := subnet.Want{Config: b.config, Attrs: subnet.Attrs{Node: nodeName(number), Backend: "vxlan", MTU: 1500}}
	for _, f := range subnet.Families {
		if b.config.Networks[f].Enabled() {
			w.Attrs.PublicIP[f] = address(f, number)
			w.Attrs.Data[f] = fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:%02x:%02x"}`, number>>8, number&0xff)
		}
	}
	return w
}

func nodeName(number int) string { return fmt.Sprintf("node-%d", number) }

func address(f subnet.Family, number int) netip.Addr {
	if f == subnet.Inet {
		return netip.AddrFrom4([4]byte{192, 168, byte(number >> 8), byte(number)})
	}
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 14: byte(number >> 8), 15: byte(number)})
}

// store is a fresh Store of the node with this number.
func (b *bed) store(number int) subnet.Store { return b.c.Store(nodeName(number)) }

// claim claims what has to succeed, and checks what holds of every claim.
func (b *bed) claim(s subnet.Store, w subnet.Want) subnet.Lease {
	b.Helper()
	l, err := tryClaim(b.Context(), s, w)
	if err != nil {
		b.Fatalf("Claim for %s: %v", w.Attrs.Node, err)
	}
	if l.Attrs != w.Attrs {
		b.Fatalf("Claim returned another lease than was asked for:\n  %s\nwant the attributes\n  %s",
			showLease(l), showLease(subnet.Lease{Subnets: l.Subnets, Attrs: w.Attrs}))
	}
	if !w.Config.Holds(l.Subnets) {
		b.Fatalf("Claim returned %s, which the config does not hold: %v", l.Subnets, w.Config.Networks)
	}
	return l
}

func tryClaim(ctx context.Context, s subnet.Store, w subnet.Want) (subnet.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.Claim(ctx, w)
}

// join claims a lease for the node with this number, and follows the store as its agent does.
func (b *bed) join(number int) (subnet.Store, subnet.Lease, *watcher) {
	b.Helper()
	s := b.store(number)
	w := watch(b.T, s, nil)
	l := b.claim(s, b.want(number))
	w.untilLease(l)
	return s, l, w
}

// refused claims in vain for a short time, as long as the store cannot be reached.
func (b *bed) refused(s subnet.Store, w subnet.Want) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Second)
	defer cancel()
	if l, err := s.Claim(ctx, w); err == nil {
		b.Fatalf("Claim returned %s though the store cannot be reached", showLease(l))
	}
}

// show writes a picture for people.
func show(p subnet.Snapshot) string {
	lines := []string{"config " + p.Config}
	var leases []string
	for _, l := range p.Leases {
		leases = append(leases, showLease(l))
	}
	slices.Sort(leases)
	lines = append(lines, leases...)
	for _, f := range p.Faults {
		lines = append(lines, fmt.Sprintf("fault %s: %v", f.Key, f.Err))
	}
	return "  " + strings.Join(lines, "\n  ") + fmt.Sprintf("\n  changed %v", p.Changed)
}

func showLease(l subnet.Lease) string {
	return fmt.Sprintf("%s node=%q public=%s backend=%s data=%q", l.Subnets, l.Node, l.Addresses(), l.Backend, l.Data)
}
