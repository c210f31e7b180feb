package lab

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// plug attaches net1 of p to the second network. The pod that it returns is p as it is seen there.
func plug(t *testing.T, p *Pod) *Pod {
	t.Helper()
	host := *p.Host
	q := &Pod{Host: &host, Node: p.Node}
	must(t, p.Node.Do(func() error {
		var result types.Result
		err := Attach(func() (err error) {
			result, err = p.call(within(t, patience), blueList, "net1", (*libcni.CNIConfig).AddNetworkList)
			return err
		}, func() error { return p.pull(within(t, patience)) })
		if err != nil {
			return err
		}
		return q.take(result)
	}))
	t.Cleanup(func() { q.echo.close() })
	return q
}

// unplug takes net1 from the pod.
func unplug(t *testing.T, p *Pod) {
	t.Helper()
	p.echo.close()
	p.echo = nil
	must(t, p.Node.Do(func() error { return p.pull(within(t, patience)) }))
}

// pull calls the plugins of the second network with DEL.
func (p *Pod) pull(ctx context.Context) error {
	_, err := p.call(ctx, blueList, "net1", func(c *libcni.CNIConfig, ctx context.Context, l *libcni.NetworkConfigList, rt *libcni.RuntimeConf) (types.Result, error) {
		return nil, c.DelNetworkList(ctx, l, rt)
	})
	return err
}

// answerOf is what weftd answers at its socket.
func answerOf(t *testing.T, n *Node, path string) (code int, text string) {
	t.Helper()
	resp, err := n.ask(within(t, patience), path)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(body)
}

// ofBlue are the files and folders of the second network on a node.
func ofBlue(t *testing.T, n *Node) []string {
	t.Helper()
	var found []string
	must(t, n.Do(func() error {
		for _, pattern := range []string{"/run/flannel/blue*", "/run/weft/blue*", "/var/lib/weft/blue*", "/var/lib/cni/networks/blue*", blueFile} {
			paths, err := filepath.Glob(pattern)
			if err != nil {
				return err
			}
			found = append(found, paths...)
		}
		return nil
	}))
	return found
}

// withoutMangle is l without the chain that iptables makes when it is asked for one of the table mangle, and leaves there.
func withoutMangle(l Listing) Listing {
	return slices.DeleteFunc(l, func(line string) bool { return strings.HasSuffix(line, " mangle POSTROUTING") })
}
