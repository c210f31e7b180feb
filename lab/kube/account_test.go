package kube

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// account is the service account of weftd as a pod of this machine would see it: the volume that the kubelet keeps.
type account struct {
	k       *cluster
	version int
}

const (
	accountSpace = "accounts"
	accountDir   = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// newAccount makes the service account, which may do what the user weft may.
func (k *cluster) newAccount() *account {
	k.t.Helper()
	// What is in /run of the machine is not seen in this mount namespace for as long as the test lasts.
	must(k.t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	k.t.Cleanup(func() { must(k.t, unix.Unmount("/run", unix.MNT_DETACH)) })
	must(k.t, os.MkdirAll(accountDir, 0o755))
	space := "/api/v1/namespaces/" + accountSpace
	k.have("/api/v1/namespaces", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": accountSpace}})
	k.have(space+"/serviceaccounts", object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{"name": "weft"}})
	subject := []object{{"kind": "ServiceAccount", "name": "weft", "namespace": accountSpace}}
	for path, kind := range map[string]string{"clusterrolebindings": "ClusterRole", "namespaces/default/rolebindings": "Role"} {
		k.have("/apis/rbac.authorization.k8s.io/v1/"+path, object{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind + "Binding",
			"metadata": object{"name": "account"}, "roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "weft"}, "subjects": subject})
	}
	return &account{k: k}
}

// have is do, for what another test may have made.
func (k *cluster) have(path string, body any) {
	k.t.Helper()
	text, err := json.Marshal(body)
	must(k.t, err)
	var status *StatusError
	if _, err := k.c.Do(k.t.Context(), "POST", path, "", text); err != nil && (!errors.As(err, &status) || status.Code != http.StatusConflict) {
		k.t.Fatal(err)
	}
}

// token asks for one that is good until revoke, and for ten minutes, which is as short as the API server gives them.
func (a *account) token(name string) string {
	a.k.t.Helper()
	space := "/api/v1/namespaces/" + accountSpace
	a.k.do("POST", space+"/secrets", object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": name}})
	var r struct{ Status struct{ Token string } }
	must(a.k.t, json.Unmarshal(a.k.do("POST", space+"/serviceaccounts/weft/token", object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": object{"expirationSeconds": 600, "boundObjectRef": object{"apiVersion": "v1", "kind": "Secret", "name": name}}}), &r))
	return r.Status.Token
}

// revoke ends a token before its time, and returns when the API server refuses it.
func (a *account) revoke(name, token string) {
	a.k.t.Helper()
	a.k.do("DELETE", "/api/v1/namespaces/"+accountSpace+"/secrets/"+name, nil)
	a.k.until("the end of the token "+name, func() bool {
		r, err := http.NewRequestWithContext(a.k.t.Context(), "GET", "https://"+APIAddress+"/api/v1/nodes/node-1", nil)
		must(a.k.t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		_, err = answer(a.k.c.http, r)
		return err != nil && strings.Contains(err.Error(), "401")
	})
}

// mount shows a token and a CA to pods, in the place of what there was: in one step, as the kubelet does.
func (a *account) mount(token string, ca []byte) {
	a.k.t.Helper()
	a.version++
	dir := fmt.Sprintf("..version_%d", a.version)
	must(a.k.t, os.Mkdir(filepath.Join(accountDir, dir), 0o755))
	must(a.k.t, os.WriteFile(filepath.Join(accountDir, dir, "token"), []byte(token), 0o644))
	must(a.k.t, os.WriteFile(filepath.Join(accountDir, dir, "ca.crt"), ca, 0o644))
	link := filepath.Join(accountDir, "..data")
	must(a.k.t, os.Symlink(dir, link+"_tmp"))
	must(a.k.t, os.Rename(link+"_tmp", link))
	if a.version > 1 {
		must(a.k.t, os.RemoveAll(filepath.Join(accountDir, fmt.Sprintf("..version_%d", a.version-1))))
		return
	}
	for _, name := range []string{"token", "ca.crt"} {
		must(a.k.t, os.Symlink("..data/"+name, filepath.Join(accountDir, name)))
	}
}

// ca is the certificate of the control plane.
func (k *cluster) ca() []byte {
	k.t.Helper()
	text, err := os.ReadFile(k.c.file("ca.crt"))
	must(k.t, err)
	return text
}

// asPod says where the API is, as the kubelet does in the environment of pods.
func (k *cluster) asPod(at string) {
	k.t.Helper()
	u, err := url.Parse(at)
	must(k.t, err)
	k.t.Setenv("KUBERNETES_SERVICE_HOST", u.Hostname())
	k.t.Setenv("KUBERNETES_SERVICE_PORT", u.Port())
}

// testAccount runs weftd with a service account whose token is renewed, and whose old one is refused from then on.
func testAccount(k *cluster) {
	k.SetConfig(single)
	uplink(k.t, "eth7", "192.168.0.1/24")
	k.makeNode("node-1", "10.5.1.0/24")
	k.internal("node-1", "192.168.0.1")
	k.peerNode()
	account := k.newAccount()
	bin := k.weftd()
	k.asPod(k.line.url())
	for _, endpoints := range []string{"", "https://127.0.0.1:1," + k.line.url()} {
		name := func(what string) string { return fmt.Sprintf("%s-%d", what, len(endpoints)) }
		first := account.token(name("first"))
		account.mount(first, k.ca())
		a := k.run(bin, "node-1", "--kubeconfig-file=", "--kube-api-url="+endpoints)
		k.until("subnet.env", func() bool { return a.file("subnet.env") != "" })

		second := account.token(name("second"))
		account.mount(second, k.ca())
		account.revoke(name("first"), first)
		k.follows("10.5.77.0/24", "192.168.0.77")
		if log := a.file(logName); strings.Contains(log, "have expired") {
			k.t.Errorf("the new token was there, and weftd complains:\n%s", log)
		}

		account.revoke(name("second"), second)
		k.line.cut()
		k.line.join()
		k.until("the sentence", func() bool {
			return strings.Contains(a.file(logName), "the credentials (the service account in "+accountDir+") have expired or are not this cluster's: renew them")
		})
		if got := k.peers(); got != "10.5.77.0/24" {
			k.t.Errorf("peers without the API: %s", got)
		}
		account.mount(account.token(name("third")), k.ca())
		k.follows("10.5.3.0/24", "192.168.0.99")
		a.stop()
	}
}

// follows gives the peer another pod CIDR and the node another address, and waits until the kernel and the Node know.
// The connection is made anew before.
func (k *cluster) follows(cidr, address string) {
	k.t.Helper()
	k.line.cut()
	k.do("DELETE", "/api/v1/nodes/node-2", nil)
	k.makeNode("node-2", cidr)
	k.annotate("node-2", object{prefix + "kube-subnet-manager": "true", prefix + "backend-type": "vxlan", prefix + "public-ip": "192.168.0.98",
		prefix + "backend-data": `{"VNI":1,"VtepMAC":"0e:00:00:00:00:02"}`})
	k.annotate("node-1", object{prefix + "public-ip-overwrite": address})
	k.line.join()
	k.until("the route", func() bool { return k.peers() == cidr })
	k.until("the address", func() bool { return k.node("node-1").Metadata.Annotations[prefix+"public-ip"] == address })
}

// testAuthority renews the certificate authority of the API server.
func testAuthority(k *cluster) {
	k.SetConfig(single)
	uplink(k.t, "eth7", "192.168.0.1/24")
	k.makeNode("node-1", "10.5.1.0/24")
	k.internal("node-1", "192.168.0.1")
	account := k.newAccount()
	p, cert := k.newTLSTap()
	token := account.token("authority")
	account.mount(token, k.ca())
	k.asPod(p.url)
	a := k.run(k.weftd(), "node-1", "--kubeconfig-file=", "--kube-api-url=")
	k.until("the sentence", func() bool {
		return strings.Contains(a.file("subnet.env.waiting"), "the CA certificate (the service account in "+accountDir+") is not that of this API server")
	})
	account.mount(token, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	k.until("subnet.env", func() bool { return a.file("subnet.env") != "" })
}
