package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weft-network/weft/lab/kube"
)

// listLeftovers prints what attaching pods leaves on a node, a line for each thing: what host-local, weft and libcni keep in
// files, network namespaces, the devices of pods and of their bandwidth, and portmap's chains and rules.
const listLeftovers = `
cd /var/lib/cni/networks/cbr0 2>/dev/null && ls | grep -v -e '^last_reserved_ip' -e '^lock$' | sed 's/^/address /'
cd /var/lib/cni/flannel 2>/dev/null && ls -A | sed 's/^/record /'
cd /var/lib/cni/results 2>/dev/null && ls | sed 's/^/result /'
for space in $(ls /run/netns); do
	ip netns exec $space ip link show eth0 >/dev/null 2>&1 && echo namespace $space || echo empty namespace $space
done
ip -o link show 2>/dev/null | sed -n 's/^[0-9]*: \(veth[^:@]*\|bwp[^:@]*\|ifb[^:@]*\)[:@].*/device \1/p'
for tables in iptables-save ip6tables-save; do
	$tables 2>/dev/null | grep -e '^:CNI-DN-' -e '^-A CNI-HOSTPORT-DNAT' -e '^:CNI-[0-9a-f]\{10,\}' | cut -d ' ' -f 1,2 | sed "s/^/$tables /"
done
nft list ruleset 2>/dev/null | grep 'dnat.*comment' | grep -v kube | sed 's/^[[:space:]]*/rule /'
exit 0
`

// leftovers lists what attaching pods leaves on a node.
func leftovers(t *testing.T, n *kube.Node) []string {
	t.Helper()
	out, err := n.Run("sh", "-c", listLeftovers)
	must(t, err)
	lines := strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
	slices.Sort(lines)
	return lines
}

// leaves waits until a node holds what it held before.
func leaves(t *testing.T, n *kube.Node, before []string) {
	t.Helper()
	eventually(t, n.Name()+" to hold what it held before", func() error {
		return differ(cmp.Diff(before, leftovers(t, n), cmpopts.EquateEmpty()))
	})
}

// differ is an error for a difference.
func differ(diff string) error {
	if diff == "" {
		return nil
	}
	return errDifferent(diff)
}

// errDifferent is a difference in the form of cmp.Diff.
type errDifferent string

func (e errDifferent) Error() string { return "(-want +got):\n" + string(e) }

// count counts the leftovers of a kind.
func count(list []string, kind string) int {
	n := 0
	for _, line := range list {
		if strings.HasPrefix(line, kind+" ") {
			n++
		}
	}
	return n
}
