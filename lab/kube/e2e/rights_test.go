package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/lab/kube"
)

// TestRights drives agents through all that they do, and compares what they asked the API for with what they may ask for.
func TestRights(t *testing.T) {
	a := newAudit(t)
	u := &update{Cluster: installed(t, kube.Setup{Proxy: "nftables", APIFlags: a.flags()})}
	u.settled(t)
	t.Run("pod", func(t *testing.T) { testPrivileges(t, u) })
	for _, s := range []struct {
		name string
		test func(*testing.T, *update)
	}{
		{"a mistake, twice", driveEvents}, {"not ready and ready again", driveCondition}, {"contest", driveContest},
		{"peer", drivePeer}, {"rollout", testRolloutRestart},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(t, u) })
	}
	_, refused := a.used(t)
	t.Run("server without streams", func(t *testing.T) { driveList(t, u) }) // one that has just started refuses everybody
	used, _ := a.used(t)
	if diff := cmp.Diff(granted(t, u.Cluster), used); diff != "" {
		t.Errorf("rights (-granted +used):\n%s", diff)
	}
	if len(refused) > 0 {
		t.Errorf("refused: %q", refused)
	}
	t.Run("token", func(t *testing.T) { testToken(t, u) })
}

// driveEvents makes the same mistake twice: an Event, which is counted up.
func driveEvents(t *testing.T, u *update) {
	const mistake, right = `{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlam"}}`, `{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}`
	for n := range 2 {
		u.configure(t, map[string]string{"net-conf.json": mistake})
		u.warned(t, "vxlam")
		eventually(t, "the event", func() error {
			out, err := u.Kubectl(t.Context(), "get", "events", "--field-selector", "reason=ConfigRefused,involvedObject.name="+u.Nodes[0].Name(),
				"-o", "jsonpath={.items[*].count}")
			if err == nil && out != fmt.Sprint(n+1) {
				err = fmt.Errorf("it was counted up to %q", out)
			}
			return err
		})
		u.configure(t, map[string]string{"net-conf.json": right})
		u.warned(t, "")
	}
}

// driveCondition puts a folder where the agent wants to write the CNI configuration.
func driveCondition(t *testing.T, u *update) {
	n := u.Nodes[0]
	_, err := n.Run("sh", "-c", "rm "+confFile+" && mkdir -p "+confFile+"/x || { sleep 0.1; rm -f "+confFile+"; mkdir -p "+confFile+"/x; }")
	must(t, err)
	u.condition(t, n, "True ", "installing the CNI configuration")
	eventually(t, "the event", func() error { return eventSays(t, u.Cluster, "node", n.Name(), "installing the CNI configuration") })
	_, err = n.Run("rm", "-r", confFile)
	must(t, err)
	u.condition(t, n, "False FlannelIsUp", "connected")
}

// condition waits until NetworkUnavailable of a Node says something.
func (u *update) condition(t *testing.T, n *kube.Node, begins, words string) {
	t.Helper()
	eventually(t, "the condition "+begins, func() error {
		out, err := u.Kubectl(t.Context(), "get", "node", n.Name(), "-o",
			`jsonpath={range .status.conditions[?(@.type=="NetworkUnavailable")]}{.status} {.reason} {.message}{end}`)
		if err == nil && (!strings.HasPrefix(out, begins) || !strings.Contains(out, words)) {
			err = fmt.Errorf("it is %q", out)
		}
		return err
	})
}

// driveContest asks the agent of a node whether it is at work, as one on a cloned machine does.
func driveContest(t *testing.T, u *update) {
	const key = "flannel.alpha.coreos.com/weft-contest"
	_, err := u.Kubectl(t.Context(), "annotate", "node", u.Nodes[0].Name(), key+"=word")
	must(t, err)
	eventually(t, "an answer", func() error {
		out, err := u.Kubectl(t.Context(), "get", "node", u.Nodes[0].Name(), "-o", `jsonpath={.metadata.annotations.flannel\.alpha\.coreos\.com/weft-contest}`)
		if err == nil && out != "word held" {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	})
	_, err = u.Kubectl(t.Context(), "annotate", "node", u.Nodes[0].Name(), key+"-")
	must(t, err)
}

// drivePeer moves a node's public address, which its peer follows, and back.
func drivePeer(t *testing.T, u *update) {
	const key = "flannel.alpha.coreos.com/public-ip-overwrite"
	for _, c := range []struct{ change, want string }{{key + "=172.30.0.99", "172.30.0.99"}, {key + "-", u.Nodes[0].Addr(0).String()}} {
		_, err := u.Kubectl(t.Context(), "annotate", "node", u.Nodes[0].Name(), c.change)
		must(t, err)
		eventually(t, "the peer's address", func() error {
			s, err := statusOf(u.Nodes[1])
			if err == nil && (len(s.Peers) != 1 || !slices.Contains(s.Peers[0].PublicIPs, c.want)) {
				err = fmt.Errorf("peers %+v", s.Peers)
			}
			return err
		})
	}
}

// driveList has the API server know nothing of streamed lists.
func driveList(t *testing.T, u *update) {
	u.Plane().StopAPI()
	must(t, u.Plane().StartAPI(t.Context(), "--feature-gates=WatchList=false"))
	testRolloutRestart(t, u)
}

// testPrivileges looks at the processes of the agents as the kernel has them.
func testPrivileges(t *testing.T, u *update) {
	caps, err := u.Kubectl(t.Context(), "-n", "weft-system", "get", "daemonset", "weft", "-o", "jsonpath={.spec.template.spec.containers[*].securityContext.capabilities}")
	must(t, err)
	if diff := cmp.Diff(`{"add":["NET_ADMIN"],"drop":["ALL"]}`, caps); diff != "" {
		t.Errorf("capabilities of the manifest (-want +got):\n%s", diff)
	}
	const netAdmin, none = "0000000000001000", "0000000000000000"
	want := map[string]string{"CapInh": none, "CapPrm": netAdmin, "CapEff": netAdmin, "CapBnd": netAdmin, "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2"}
	for _, n := range u.Nodes {
		proc := agentProc(t, n)
		text, err := n.Run("cat", proc+"/status")
		must(t, err)
		got := map[string]string{}
		for line := range strings.Lines(text) {
			if key, value, _ := strings.Cut(line, ":"); want[key] != "" {
				got[key] = strings.TrimSpace(value)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the agent of %s (-want +got):\n%s", n.Name(), diff)
		}
		for _, path := range []string{"/x", "/usr/local/bin/weftctl", "/etc/kube-flannel/net-conf.json"} {
			if out, err := n.Run("sh", "-c", "echo x >> "+proc+"/root"+path); err == nil || !strings.Contains(out, "Read-only file system") {
				t.Errorf("%s can be written by the agent of %s: %q", path, n.Name(), out)
			}
		}
	}
}

// agentProc is where the kernel tells of the agent of a node.
func agentProc(t *testing.T, n *kube.Node) string {
	t.Helper()
	pid, err := n.Run("pidof", "weftd")
	must(t, err)
	return "/proc/" + strings.TrimSpace(pid)
}

// testToken tries what somebody could who got hold of an agent.
func testToken(t *testing.T, u *update) {
	own, other := u.Nodes[0], u.Nodes[1].Name()
	token, err := own.Run("cat", agentProc(t, own)+"/root/var/run/secrets/kubernetes.io/serviceaccount/token")
	must(t, err)
	with := func(args ...string) (string, error) {
		return u.Kubectl(t.Context(), append([]string{"--token=" + strings.TrimSpace(token)}, args...)...)
	}
	if out, err := with("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"); out != account {
		t.Fatalf("the token is that of %q, %v", out, err)
	}
	const key = "flannel.alpha.coreos.com/backend-data"
	node, nodes := "/api/v1/nodes/"+own.Name(), "/api/v1/nodes/"
	note := func(key string) string { return fmt.Sprintf(`{"metadata": {"annotations": {%q: "x"}}}`, key) }
	about := func(node string) string {
		return fmt.Sprintf(`{"metadata": {"name": "x.%s"}, "involvedObject": {"kind": "Node", "name": %q}, "reason": "Test", "type": "Normal"}`, node, node)
	}
	const events, ready = "/api/v1/namespaces/default/events", `{"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}`
	for _, c := range []struct{ name, method, path, body, want string }{
		{"its annotation", "PATCH", node, note("flannel.alpha.coreos.com/weft-contest"), ""},
		{"an Event about its Node", "POST", events, about(own.Name()), ""},
		{"an Event about another Node", "POST", events, about(other), "may write Events about its own Node only"},
		{"an Event elsewhere", "POST", "/api/v1/namespaces/weft-system/events", about(own.Name()), "cannot create resource"},
		{"another Node", "PATCH", nodes + other, note(key), "may not change Node " + other},
		{"another Node's condition", "PATCH", nodes + other + "/status", ready, "may not change Node " + other},
		{"a label", "PATCH", node, `{"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}`, "may not change metadata.labels"},
		{"a foreign annotation", "PATCH", node, note("example.com/x"), "may change the annotations of Weft only"},
		{"a taint", "PATCH", node, `{"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}}`, "may not change the spec of a Node"},
		{"capacity", "PATCH", node + "/status", `{"status": {"capacity": {"example.com/x": "1"}}}`, "may not change status.capacity"},
		{"a foreign condition", "PATCH", node + "/status", ready, "may change the condition NetworkUnavailable only"},
		{"to delete its Node", "DELETE", node, "", "cannot delete resource"},
		{"to make a Node", "POST", nodes, `{"metadata": {"name": "x"}}`, "cannot create resource"},
		{"its kubelet", "GET", node + "/proxy/pods", "", "cannot get resource"},
		{"Secrets", "GET", "/api/v1/secrets", "", "cannot list resource"},
		{"a Secret of its namespace", "GET", "/api/v1/namespaces/weft-system/secrets/x", "", "cannot get resource"},
		{"pods", "GET", "/api/v1/pods", "", "cannot list resource"},
		{"a token", "POST", "/api/v1/namespaces/weft-system/serviceaccounts/weft/token", "{}", "cannot create resource"},
		{"Events", "GET", events, "", "cannot list resource"},
	} {
		code, text, err := as(token, c.method, c.path, c.body)
		if refused := code == 403 || code == 422; err != nil || refused != (c.want != "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, %v, want %q", c.name, code, text, err, c.want)
		}
	}
}

// as asks the API with a token.
func as(token, method, path, body string) (code int, text string, err error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true} // it is on loopback
	r, err := http.NewRequest(method, "https://"+kube.APIAddress+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", map[bool]string{true: "application/strategic-merge-patch+json", false: "application/json"}[method == "PATCH"])
	client := http.Client{Timeout: patience, Transport: transport}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all), err
}
