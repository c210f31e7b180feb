package kube

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Where the control plane answers, in the network namespace that it was started in.
const (
	APIAddress  = "127.0.0.1:6443"
	etcdAddress = "127.0.0.1:2379"
	etcdPeer    = "127.0.0.1:2380"
)

// ControlPlane is etcd and an API server, and a controller manager where it is asked for. Users are those of Options.
type ControlPlane struct {
	bin, dir string
	o        Options

	etcd, api, controllers, scheduler *process
	http                              *http.Client
}

// Options say what a control plane is like.
type Options struct {
	Dir         string            // where data, keys and logs go; it exists
	Users       map[string]string // token by name of a user; "admin" is there anyway, and may do all; system:node:NAME is a kubelet
	ClusterCIDR string            // what the controller manager gives out pod CIDRs from: one network, or two with a comma
	ServiceCIDR string            // what Services have addresses from; 10.96.0.0/16 by default
	Addrs       []netip.Addr      // where nodes reach the API server; it answers on loopback alone by default
	Flags       []string          // more flags of the API server
}

// groups are those of a user, by its name.
func groups(user string) string {
	if strings.HasPrefix(user, "system:node:") {
		return ",system:nodes"
	}
	return ""
}

// Start starts etcd and the API server and returns when it is ready. Stop stops them.
func Start(ctx context.Context, bin string, o Options) (*ControlPlane, error) {
	c := &ControlPlane{bin: bin, dir: o.Dir, o: o}
	c.o.ServiceCIDR = cmp.Or(o.ServiceCIDR, "10.96.0.0/16")
	if err := newAuthority(c.dir, o.Addrs); err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	tokens := "admin,admin,admin,system:masters\n"
	for user, token := range o.Users {
		tokens += fmt.Sprintf("%s,%s,%s%s\n", token, user, user, groups(user))
	}
	if err := os.WriteFile(c.file("tokens"), []byte(tokens), 0o600); err != nil {
		return nil, err
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	var err error
	c.etcd, err = c.start("etcd", "--data-dir="+c.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://"+etcdAddress, "--advertise-client-urls=http://"+etcdAddress,
		"--listen-peer-urls=http://"+etcdPeer, "--initial-advertise-peer-urls=http://"+etcdPeer, "--initial-cluster=default=http://"+etcdPeer)
	if err == nil {
		err = c.StartAPI(ctx)
	}
	if err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// StartAPI starts the API server after StopAPI, with more flags if any, and returns when it is ready.
func (c *ControlPlane) StartAPI(ctx context.Context, more ...string) error {
	flags := append([]string{"--etcd-servers=http://" + etcdAddress,
		"--secure-port=6443", "--service-cluster-ip-range=" + c.o.ServiceCIDR, "--client-ca-file=" + c.file("ca.crt"),
		"--tls-cert-file=" + c.file("apiserver.crt"), "--tls-private-key-file=" + c.file("apiserver.key"), "--token-auth-file=" + c.file("tokens"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.file("accounts.crt"), "--service-account-signing-key-file=" + c.file("accounts.key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--kubelet-client-certificate=" + c.file("kubelet-client.crt"), "--kubelet-client-key=" + c.file("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP"}, c.o.Flags...)
	flags = append(append(flags, c.listen()...), more...)
	api, err := c.start("kube-apiserver", flags...)
	if err != nil {
		return err
	}
	c.api = api
	return await(ctx, "the API server", api, func() error {
		_, err := c.Do(ctx, "GET", "/readyz", "", nil)
		return err
	})
}

// listen are the flags that say where the API server answers.
func (c *ControlPlane) listen() []string {
	if len(c.o.Addrs) == 0 {
		return []string{"--bind-address=127.0.0.1", "--advertise-address=192.0.2.1"}
	}
	return []string{"--bind-address=::", "--advertise-address=" + c.o.Addrs[0].String()}
}

// StopAPI ends the API server at once.
func (c *ControlPlane) StopAPI() {
	c.api.kill()
	c.http.CloseIdleConnections()
}

// StartControllers starts the controller manager: the named controllers, or all without names. That called nodeipam gives
// out pod CIDRs.
func (c *ControlPlane) StartControllers(names ...string) (err error) {
	config := c.file("controllers.kubeconfig")
	if err := c.Kubeconfig(config, "admin"); err != nil {
		return err
	}
	flags := []string{"--kubeconfig=" + config, "--bind-address=127.0.0.1", "--leader-elect=false",
		"--allocate-node-cidrs=true", "--cluster-cidr=" + c.o.ClusterCIDR, "--service-cluster-ip-range=" + c.o.ServiceCIDR,
		"--service-account-private-key-file=" + c.file("accounts.key"), "--root-ca-file=" + c.file("ca.crt"),
		"--use-service-account-credentials=true", "--kube-api-qps=1000", "--kube-api-burst=1000"}
	if len(names) > 0 {
		flags = append(flags, "--controllers="+strings.Join(names, ","))
	}
	c.controllers, err = c.start("kube-controller-manager", flags...)
	return err
}

// startScheduler starts the scheduler.
func (c *ControlPlane) startScheduler() (err error) {
	config := c.file("scheduler.kubeconfig")
	if err := c.Kubeconfig(config, "admin"); err != nil {
		return err
	}
	c.scheduler, err = c.start("kube-scheduler", "--kubeconfig="+config, "--bind-address=127.0.0.1", "--leader-elect=false")
	return err
}

// StopControllers ends the controller manager.
func (c *ControlPlane) StopControllers() {
	if c.controllers != nil {
		c.controllers.kill()
		c.controllers = nil
	}
}

// Stop ends everything. The folder stays.
func (c *ControlPlane) Stop() {
	c.StopControllers()
	for _, p := range []*process{c.scheduler, c.api, c.etcd} {
		if p != nil {
			p.kill()
		}
	}
	c.http.CloseIdleConnections()
}

// Compact drops the history of etcd, as happens every five minutes in a real cluster.
func (c *ControlPlane) Compact(ctx context.Context) error {
	var status struct {
		Header struct{ Revision string }
	}
	if err := c.etcdPost(ctx, "/v3/maintenance/status", `{}`, &status); err != nil {
		return err
	}
	return c.etcdPost(ctx, "/v3/kv/compaction", `{"revision":"`+status.Header.Revision+`","physical":true}`, nil)
}

func (c *ControlPlane) file(name string) string { return filepath.Join(c.dir, name) }

// Kubeconfig writes the credentials of a user of this machine.
func (c *ControlPlane) Kubeconfig(path, user string) error {
	return c.kubeconfig(path, user, "https://"+APIAddress)
}

// kubeconfig writes the credentials of a user of a server.
func (c *ControlPlane) kubeconfig(path, user, server string) error {
	token := "admin"
	if user != "admin" {
		token = c.o.Users[user]
	}
	ca, err := os.ReadFile(c.file("ca.crt"))
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, server, base64.StdEncoding.EncodeToString(ca), token)
	return os.WriteFile(path, []byte(text), 0o600)
}

// connect makes the client of Do.
func (c *ControlPlane) connect() error {
	ca, err := os.ReadFile(c.file("ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 16}}
	return nil
}

// StatusError is an answer of the API server that is not 2xx.
type StatusError struct {
	Code int
	Text string
}

// Error says what was answered.
func (e *StatusError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Text) }

// Do sends a request as the user admin, and returns the body of the answer. The error is a *StatusError where there was
// one. An empty kind is JSON.
func (c *ControlPlane) Do(ctx context.Context, method, path, kind string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "https://"+APIAddress+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind == "" {
		kind = "application/json"
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer admin")
	return answer(c.http, r)
}

// answer sends a request and reads the answer.
func answer(client *http.Client, r *http.Request) ([]byte, error) {
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, &StatusError{resp.StatusCode, string(text)})
	}
	return text, nil
}
