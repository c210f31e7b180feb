package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd/etcdtest"
)

// authority signs certificates, as files in a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make(name, nil)
	a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// make makes a certificate, signed by parent or by itself.
func (a *authority) make(name string, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	signer, signerKey := template, key
	if parent != nil {
		signer, signerKey = parent.cert, parent.key
	} else {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue writes NAME.pem and NAME.key, signed by a, into the directory of to.
func (a *authority) issue(name string, to *authority) {
	a.t.Helper()
	cert, key := a.make(name, a)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	to.write(name+".pem", "CERTIFICATE", cert.Raw)
	to.write(name+".key", "EC PRIVATE KEY", der)
}

// tlsCluster starts one member with the files of a.
func tlsCluster(t *testing.T, a *authority, clientCerts bool) *etcdtest.Cluster {
	t.Helper()
	a.issue("server", a)
	return etcdtest.Start(t, 1, func(c *embed.Config) {
		c.ClientTLSInfo = transport.TLSInfo{CertFile: a.file("server.pem"), KeyFile: a.file("server.key"), ClientCertAuth: clientCerts}
		if clientCerts {
			c.ClientTLSInfo.TrustedCAFile = a.file("ca.pem")
		}
	})
}

// admin is a client beside the store, with a certificate of its own.
func admin(t *testing.T, c *etcdtest.Cluster, a *authority) *clientv3.Client {
	t.Helper()
	a.issue("admin", a)
	info := transport.TLSInfo{CertFile: a.file("admin.pem"), KeyFile: a.file("admin.key"), TrustedCAFile: a.file("ca.pem")}
	cfg, err := info.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	return c.Client(t, func(o *clientv3.Config) { o.TLS = cfg })
}

func TestAuthorityAlone(t *testing.T) {
	ca := newAuthority(t, "ca")
	c := tlsCluster(t, ca, false)
	config := configure(t, admin(t, c, ca), netconf)
	if _, err := newStore(t, Options{Endpoints: c.Endpoints(), CAFile: ca.file("ca.pem")}).Claim(t.Context(), wantOf(config, 1)); err != nil {
		t.Error(err)
	}
}

// TestAuthorityMissing trusts the system's authorities, which do not know the test's.
func TestAuthorityMissing(t *testing.T) {
	ca := newAuthority(t, "ca")
	c := tlsCluster(t, ca, false)
	other := newAuthority(t, "another ca")
	for _, file := range []string{"", other.file("ca.pem"), "/no/such/file"} {
		s := newStore(t, Options{Endpoints: c.Endpoints(), CAFile: file, RequestTimeout: 2 * time.Second})
		_, err := s.Claim(t.Context(), wantOf(parseConfig(t, netconf), 1))
		if err == nil || !strings.Contains(err.Error(), "check the CA file") {
			t.Errorf("with the CA file %q: %v", file, err)
		}
	}
}

// TestFilesRenewed replaces all files on both sides, by those of another authority, while an agent runs.
func TestFilesRenewed(t *testing.T) {
	old := newAuthority(t, "old ca")
	c := tlsCluster(t, old, true)
	old.issue("client", old)
	config := configure(t, admin(t, c, old), netconf)
	o := Options{Endpoints: c.Endpoints(), CAFile: old.file("ca.pem"), CertFile: old.file("client.pem"), KeyFile: old.file("client.key"), Logger: loudly(t)}
	a := startAgent(t, newStore(t, o), wantOf(config, 1))
	own := a.untilOwn()

	renewed := newAuthority(t, "new ca")
	c.Stop(0)
	renewed.issue("server", old)
	renewed.issue("client", old)
	old.write("ca.pem", "CERTIFICATE", renewed.cert.Raw)
	c.Restart(0)
	renewed.issue("admin", renewed)
	peer := putPeer(t, admin(t, c, renewed), 2, parseSubnets("10.5.200.0/24"))
	a.until("the peer", func(p subnet.Snapshot) bool { return p.Leases[peer.Subnets] == peer && p.Leases[own.Subnets] == own })
}

// TestHalfRenewed finds a key that does not fit its certificate, as in the middle of a renewal.
func TestHalfRenewed(t *testing.T) {
	ca := newAuthority(t, "ca")
	ca.issue("client", ca)
	tr := newSecured(Options{CAFile: ca.file("ca.pem"), CertFile: ca.file("client.pem"), KeyFile: ca.file("client.key")})
	before, err := tr.config()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(ca.file("client.key"), ca.file("old.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca.file("ca.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	between, err := tr.config()
	if err != nil {
		t.Fatal(err)
	}
	if between.RootCAs != before.RootCAs || string(between.Certificates[0].Certificate[0]) != string(before.Certificates[0].Certificate[0]) {
		t.Error("half a renewal changed what is in use")
	}
	ca.issue("client", ca)
	after, err := tr.config()
	if err != nil {
		t.Fatal(err)
	}
	if string(after.Certificates[0].Certificate[0]) == string(before.Certificates[0].Certificate[0]) {
		t.Error("a renewed certificate is not in use")
	}
}

// withAuth turns authentication on, with a user for the prefix alone.
func withAuth(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	for _, do := range []func() error{
		func() error { _, err := client.RoleAdd(ctx, "weft"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "weft", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := client.UserAdd(ctx, "weft", "secret"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "weft", "weft"); return err },
		func() error { _, err := client.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPassword runs an agent longer than its token is good for, and over a restart of etcd that forgets all tokens.
func TestPassword(t *testing.T) {
	c := etcdtest.Start(t, 1, func(c *embed.Config) { c.AuthTokenTTL = 1 })
	setup := c.Client(t)
	config := configure(t, setup, netconf)
	withAuth(t, setup)
	root := c.Client(t, func(o *clientv3.Config) { o.Username, o.Password = "root", "root" })
	s := newStore(t, Options{Endpoints: c.Endpoints(), Username: "weft", Password: "secret", Logger: loudly(t), TTL: 3 * time.Second})
	a := startAgent(t, s, wantOf(config, 1))
	own := a.untilOwn()
	first := time.Time{}
	a.untilHealth("renewals", func(h subnet.Health) bool {
		if first.IsZero() {
			first = h.Expires
		}
		return !first.IsZero() && h.Expires.After(first.Add(3*time.Second))
	})
	c.Stop(0)
	c.Restart(0)
	peer := putPeer(t, root, 2, parseSubnets("10.5.200.0/24"))
	a.until("the peer", func(p subnet.Snapshot) bool { return p.Leases[peer.Subnets] == peer && p.Leases[own.Subnets] == own })
}

func TestPasswordWrong(t *testing.T) {
	c := etcdtest.Start(t, 1)
	setup := c.Client(t)
	config := configure(t, setup, netconf)
	withAuth(t, setup)
	for want, o := range map[string]Options{
		`does not know user "weft"`:             {Username: "weft", Password: "wrong"},
		"wants a user name":                     {},
		"must be allowed to read and write eve": {Username: "weft", Password: "secret", Prefix: "/elsewhere"},
	} {
		o.Endpoints = c.Endpoints()
		_, err := newStore(t, o).Claim(t.Context(), wantOf(config, 1))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q: %v", want, err)
		}
	}
}
