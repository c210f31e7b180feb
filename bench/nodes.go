package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-network/weft/bench/peer"
	"github.com/weft-network/weft/lab/kube"
)

const (
	kubeAPI     = kube.APIAddress
	kubeSources = "lab/kube/kubebin"
	writers     = 8 // requests at the same time where many are made
)

// nodes is a control plane of Kubernetes, and the Nodes of peers that are in it.
type nodes struct {
	*kube.ControlPlane
	dir string
}

// newNodes starts a control plane without Nodes in dir. The programs that are measured are users with the rights that
// they need; what they ask for is written down.
func newNodes(ctx context.Context, dir string) (*nodes, error) {
	bin, err := kube.Binaries(ctx, kubeSources)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	n := &nodes{dir: dir}
	users := map[string]string{"weft": "weft", "informer": "informer", "floor": "floor"}
	policy := `{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
		"rules": [{"level": "Metadata", "users": ["weft", "informer"]}, {"level": "None"}]}`
	err = errors.Join(os.WriteFile(n.file("audit.yaml"), []byte(policy), 0o600), os.WriteFile(n.file("net-conf.json"), []byte(peer.Config), 0o644))
	if err != nil {
		return nil, err
	}
	n.ControlPlane, err = kube.Start(ctx, bin, kube.Options{Dir: dir, Users: users,
		Flags: []string{"--audit-policy-file=" + n.file("audit.yaml"), "--audit-log-path=" + n.file("audit.log")}})
	if err != nil {
		return nil, err
	}
	for user := range users {
		err = errors.Join(err, n.Kubeconfig(n.file(user+".kubeconfig"), user))
	}
	if err = errors.Join(err, n.allow(ctx)); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

// allow gives the users their rights.
func (n *nodes) allow(ctx context.Context) error {
	const rbac = "/apis/rbac.authorization.k8s.io/v1/"
	return errors.Join(n.do(ctx, "POST", rbac+"clusterroles", []byte(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
		"metadata": {"name": "bench"}, "rules": [
			{"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["get", "list", "watch", "patch"]},
			{"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}]}`)),
		n.do(ctx, "POST", rbac+"clusterrolebindings", []byte(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
		"metadata": {"name": "bench"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bench"},
		"subjects": [{"kind": "User", "name": "weft"}, {"kind": "User", "name": "informer"}, {"kind": "User", "name": "floor"}]}`)))
}

// do sends a request that has to succeed.
func (n *nodes) do(ctx context.Context, method, path string, body []byte) error {
	kind := ""
	if method == "PATCH" {
		kind = "application/strategic-merge-patch+json"
	}
	_, err := n.Do(ctx, method, path, kind, body)
	return err
}

// fill makes the Nodes of the peers from to to-1.
func (n *nodes) fill(ctx context.Context, from, to int) error {
	return n.each(ctx, to-from, func(ctx context.Context, i int) error { return n.put(ctx, from+i) })
}

// each does something count times, several at the same time.
func (n *nodes) each(ctx context.Context, count int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range writers {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// put makes the Node of peer i.
func (n *nodes) put(ctx context.Context, i int) error {
	return n.do(ctx, "POST", "/api/v1/nodes", peer.Node(i))
}

// remove takes a Node away; one that is not there is no error.
func (n *nodes) remove(ctx context.Context, name string) error {
	err := n.do(ctx, "DELETE", "/api/v1/nodes/"+name, nil)
	var status *kube.StatusError
	if errors.As(err, &status) && status.Code == 404 {
		return nil
	}
	return err
}

// heartbeat says for the Node of peer i that it is alive.
func (n *nodes) heartbeat(ctx context.Context, i int) error {
	at := time.Now().UTC().Format(time.RFC3339)
	return n.do(ctx, "PATCH", "/api/v1/nodes/"+peer.NodeName(i)+"/status", peer.Heartbeat(at))
}

// size is how large the Node of peer i is in JSON.
func (n *nodes) size(ctx context.Context, i int) (int, error) {
	text, err := n.Do(ctx, "GET", "/api/v1/nodes/"+peer.NodeName(i), "", nil)
	return len(text), err
}

// requests counts what a user has asked of the API server, by verb and resource.
func (n *nodes) requests(user string) (counts, error) {
	file, err := os.Open(n.file("audit.log"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	seen, all := map[string]bool{}, counts{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			AuditID, Verb string
			User          struct{ Username string }
			ObjectRef     struct{ Resource, Subresource string }
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.User.Username != user || seen[e.AuditID] {
			continue // a line that is being written, another user, or the second stage of a watch
		}
		seen[e.AuditID] = true
		all[strings.TrimSuffix(e.Verb+" "+e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")]++
	}
	return all, lines.Err()
}

// counts are how often each thing was done.
type counts map[string]int

// since returns what came on top of before.
func (c counts) since(before counts) counts {
	d := counts{}
	for what, n := range c {
		if n -= before[what]; n > 0 {
			d[what] = n
		}
	}
	return d
}

// per lists them for each of n times: "1 watch nodes, 2 patch nodes/status".
func (c counts) per(n int) string {
	var words []string
	for _, what := range slices.Sorted(maps.Keys(c)) {
		words = append(words, fmt.Sprintf("%v %s", math.Round(10*float64(c[what])/float64(n))/10, what))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
