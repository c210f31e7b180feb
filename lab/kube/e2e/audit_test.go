package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-network/weft/lab/kube"
)

// account is as whom the agents of the manifest ask the API.
const account = "system:serviceaccount:weft-system:weft"

// auditPolicy has the API server write down what the agents ask for, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata, users: ["` + account + `"]}, {level: None}]
`

// audit is what the API server writes down.
type audit struct {
	policy, log string // files
}

func newAudit(t *testing.T) audit {
	t.Helper()
	dir := t.TempDir()
	a := audit{filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit.log")}
	must(t, os.WriteFile(a.policy, []byte(auditPolicy), 0o600))
	return a
}

// flags are those of the API server.
func (a audit) flags() []string {
	return []string{"--audit-policy-file=" + a.policy, "--audit-log-path=" + a.log, "--audit-log-mode=blocking"}
}

// object is what a request is about, as the API server writes it down.
type object struct {
	Resource, Subresource, APIGroup, Namespace, Name string
}

// right is what somebody may do, or did: "patch nodes/status", "create events in default".
func right(verb string, o object) string {
	what := strings.TrimPrefix(o.APIGroup+"/"+o.Resource, "/")
	if o.Subresource != "" {
		what += "/" + o.Subresource
	}
	if o.Namespace != "" {
		what += " in " + o.Namespace
	}
	return verb + " " + what
}

// used lists the rights that the agents have used, each once, and separately the requests that were refused.
func (a audit) used(t *testing.T) (rights, refused []string) {
	t.Helper()
	file, err := os.Open(a.log)
	must(t, err)
	defer file.Close()
	all := map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb, RequestURI string
			ObjectRef        *object
			ResponseStatus   struct{ Code int }
		}
		must(t, json.Unmarshal(lines.Bytes(), &e))
		what := e.Verb + " " + e.RequestURI
		if e.ObjectRef != nil {
			what = right(e.Verb, *e.ObjectRef)
		}
		all[what] = true
		if c := e.ResponseStatus.Code; c == 401 || c == 403 {
			refused = append(refused, fmt.Sprintf("%d for %s %s", c, e.Verb, e.RequestURI))
		}
	}
	must(t, lines.Err())
	return slices.Sorted(maps.Keys(all)), refused
}

// granted lists the rights of the agents' account, from all bindings that name it.
func granted(t *testing.T, c *kube.Cluster) []string {
	t.Helper()
	var bindings struct {
		Items []struct {
			Kind     string
			Metadata struct{ Namespace string }
			RoleRef  struct{ Kind, Name string }
			Subjects []struct{ Kind, Name, Namespace string }
		}
	}
	read(t, c, &bindings, "get", "clusterrolebindings,rolebindings", "-A")
	var rights []string
	for _, b := range bindings.Items {
		for _, s := range b.Subjects {
			if s.Kind == "ServiceAccount" && s.Namespace+":"+s.Name == "weft-system:weft" {
				rights = append(rights, rules(t, c, b.RoleRef.Kind, b.RoleRef.Name, b.Metadata.Namespace)...)
			}
		}
	}
	slices.Sort(rights)
	return slices.Compact(rights)
}

// rules lists the rights of a role, in the namespace of its binding.
func rules(t *testing.T, c *kube.Cluster, kind, name, namespace string) []string {
	t.Helper()
	var role struct {
		Rules []struct{ APIGroups, Resources, Verbs, NonResourceURLs, ResourceNames []string }
	}
	args := []string{"get", strings.ToLower(kind), name}
	if kind == "Role" {
		args = append(args, "-n", namespace)
	}
	read(t, c, &role, args...)
	var rights []string
	for _, r := range role.Rules {
		for _, verb := range r.Verbs {
			for _, url := range r.NonResourceURLs {
				rights = append(rights, verb+" "+url)
			}
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					rights = append(rights, right(verb, object{Resource: resource, APIGroup: group, Namespace: namespace}))
				}
			}
		}
	}
	return rights
}

// read reads what kubectl prints as JSON.
func read(t *testing.T, c *kube.Cluster, into any, args ...string) {
	t.Helper()
	out, err := c.Kubectl(t.Context(), append(args, "-o", "json")...)
	must(t, err)
	must(t, json.Unmarshal([]byte(out), into))
}
