package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/kube"
)

// testHostService runs weftd with the credentials of its node's kubelet, which are renewed meanwhile, and the rights that
// dist has for it.
func testHostService(k *cluster) {
	text, err := os.ReadFile("../../dist/host-service.yaml")
	must(k.t, err)
	for _, doc := range strings.Split(string(text), "\n---\n") {
		kind := regexp.MustCompile(`(?m)^kind: (.*)$`).FindStringSubmatch(doc)
		if kind == nil {
			k.t.Fatalf("no kind in\n%s", doc)
		}
		_, err := k.c.Do(k.t.Context(), "POST", "/apis/rbac.authorization.k8s.io/v1/"+strings.ToLower(kind[1])+"s", "application/yaml", []byte(doc))
		must(k.t, err)
	}
	config, bin := k.kubeletConf("node-1"), k.weftd()
	uplink(k.t, "eth7", "192.168.0.2/24")
	k.SetConfig(single)
	k.peerNode()
	k.makeNode("node-1", "10.5.0.0/24")
	k.internal("node-1", "192.168.0.2")
	const short = 6 * time.Second
	ends := k.renew("node-1", short)
	a := k.run(bin, "node-1", "--kubeconfig-file="+config)
	k.until("subnet.env", func() bool {
		if time.Now().After(ends) { // on a slow machine
			ends = k.renew("node-1", short)
		}
		return strings.Contains(a.file("subnet.env"), "FLANNEL_SUBNET=10.5.0.1/24\n")
	})
	k.until("the condition", func() bool { return strings.HasPrefix(k.condition("node-1"), "False FlannelIsUp") })
	if diff := cmp.Diff("10.5.3.0/24", k.peers()); diff != "" {
		k.t.Errorf("routes to peers (-want +got):\n%s", diff)
	}
	k.renew("node-1", time.Hour)
	k.until("the end of the first certificate", func() bool { return time.Now().After(ends) })
	k.annotate("node-1", object{prefix + "public-ip-overwrite": "203.0.113.1"})
	k.until("a change with the second one", func() bool { return k.node("node-1").Metadata.Annotations[prefix+"public-ip"] == "203.0.113.1" })
	if log := a.file(logName); strings.Contains(log, "allowed") {
		k.t.Errorf("rights are missing:\n%s", log)
	}

	s, err := kube.New(kube.Options{Node: "node-2", Kubeconfig: config, ConfigPath: k.configPath()})
	must(k.t, err)
	defer s.Close()
	parsed, _, err := subnet.Parse(single)
	must(k.t, err)
	_, err = s.Claim(k.t.Context(), subnet.Want{Config: parsed, Attrs: subnet.Attrs{Node: "node-2", Backend: "vxlan"}})
	if err == nil || !strings.Contains(err.Error(), "allowed") {
		k.t.Errorf("with these credentials another node's Node: %v", err)
	}
}

// kubeletConf writes a kubeconfig as kubelets have it: the certificate is in a file that is replaced now and then.
func (k *cluster) kubeletConf(node string) string {
	k.t.Helper()
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: u, user: {client-certificate: %q, client-key: %[3]q}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, APIAddress, k.c.file("ca.crt"), k.certificate(node))
	path := filepath.Join(k.dir, "kubelet.conf")
	must(k.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// certificate is the file with a kubelet's certificate and its key.
func (k *cluster) certificate(node string) string { return filepath.Join(k.dir, node+".pem") }

// renew gives a kubelet a certificate for so long, and returns when it ends.
func (k *cluster) renew(node string, life time.Duration) time.Time {
	k.t.Helper()
	ca, err := tls.LoadX509KeyPair(k.c.file("ca.crt"), k.c.file("ca.key"))
	must(k.t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(k.t, err)
	c := &x509.Certificate{
		Subject:      pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}},
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life).Truncate(time.Second),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, c, ca.Leaf, &key.PublicKey, ca.PrivateKey)
	must(k.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(k.t, err)
	text := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	_, err = subnet.WriteFile(k.certificate(node), text, 0o600)
	must(k.t, err)
	return c.NotAfter
}
