package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Where a pod finds its service account. client-go reads the token again once a minute, and when it is refused.
const (
	accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"
	tokenFile  = accountDir + "/token"
	rootFile   = accountDir + "/ca.crt"
)

const protobuf = "application/vnd.kubernetes.protobuf"

// client speaks with the API server about Nodes.
type client struct {
	*rest.RESTClient
	http  *http.Client
	from  string // where it is, for messages
	creds string // where its credentials are from, for messages
}

// newClient reads what o points at. What is missing may come: the caller tries again.
func newClient(o Options) (*client, error) {
	cfg, creds, err := clientConfig(o)
	if err != nil {
		return nil, err
	}
	var urls []*url.URL
	for _, text := range append(o.Endpoints, cfg.Host)[:max(1, len(o.Endpoints))] {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("address of the API server: %w", err)
		}
		urls = append(urls, u)
	}
	c := &client{from: texts(urls), creds: creds}
	cfg.Host = urls[0].String()
	cfg.Dial = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &turns{next: next, urls: urls} })
	if c.http, err = rest.HTTPClientFor(cfg); err != nil {
		return nil, err
	}
	c.RESTClient, err = speak(cfg, c.http)
	return c, err
}

// speak returns a client for what is spoken of with the API server, over a connection.
func speak(cfg *rest.Config, over *http.Client) (*rest.RESTClient, error) {
	cfg.APIPath, cfg.GroupVersion = "/api", &schema.GroupVersion{Version: "v1"}
	cfg.NegotiatedSerializer = codecs().WithoutConversion()
	cfg.ContentType, cfg.AcceptContentTypes = protobuf, protobuf+",application/json"
	cfg.QPS = -1 // whoever calls backs off
	cfg.WarningHandler = rest.NoWarnings{}
	return rest.RESTClientForConfigAndClient(cfg, over)
}

// clientConfig finds credentials, and says where: a kubeconfig, or the service account of the pod, or none.
func clientConfig(o Options) (cfg *rest.Config, creds string, err error) {
	const account = "the service account in " + accountDir
	if o.Kubeconfig != "" {
		rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: o.Kubeconfig}
		cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
		if err != nil {
			return nil, "", fmt.Errorf("reading %s: %w", o.Kubeconfig, err)
		}
		return cfg, o.Kubeconfig, nil
	}
	if len(o.Endpoints) == 0 {
		cfg, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, "", errors.New("not in a pod, where the cluster tells where its API is: give --kubeconfig-file or --kube-api-url")
		}
		return cfg, account, err
	}
	cfg = &rest.Config{}
	if _, err := os.Stat(tokenFile); err != nil {
		return cfg, "no credentials: give --kubeconfig-file", nil
	}
	cfg.BearerTokenFile, cfg.CAFile = tokenFile, rootFile
	return cfg, account, nil
}

// get reads one Node.
func (c *client) get(ctx context.Context, name string) (*Node, error) {
	var n Node
	return &n, c.Get().Resource("nodes").Name(name).MaxRetries(0).Do(ctx).Into(&n)
}

// patch changes a Node, or a part of it that is a resource of its own, and returns it as it is then.
func (c *client) patch(ctx context.Context, name string, kind types.PatchType, body []byte, parts ...string) (*Node, error) {
	var n Node
	return &n, c.Patch(kind).Resource("nodes").Name(name).SubResource(parts...).MaxRetries(0).Body(body).Do(ctx).Into(&n)
}

// list reads Nodes.
func (c *client) list(ctx context.Context, o metav1.ListOptions) (*NodeList, error) {
	var l NodeList
	return &l, c.Get().Resource("nodes").VersionedParams(&o, metav1.ParameterCodec).MaxRetries(0).Do(ctx).Into(&l)
}

// watch follows the Nodes.
func (c *client) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	w, err := c.Get().Resource("nodes").VersionedParams(&o, metav1.ParameterCodec).MaxRetries(0).Watch(ctx)
	if _, opened := w.(*watch.StreamWatcher); err == nil && !opened {
		return nil, errUnanswered // of which client-go makes a stream that ends at once
	}
	return w, err
}

// errUnanswered says that there was no stream after all.
var errUnanswered = errors.New("no answer, or a connection that broke")

// close ends the connections that nothing goes over. http.Client does not see through client-go's layers.
func (c *client) close() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }
