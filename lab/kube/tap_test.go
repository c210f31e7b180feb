package kube

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
)

// tap stands between agents and the API server, where it sees each request: it takes them down, and lets some wait.
type tap struct {
	url string

	mu       sync.Mutex
	requests []string // "PATCH /api/v1/nodes/node-1", in the order in which they came
	gate     *gate    // nil while nothing has to wait
}

// gate lets requests of one method wait until a number of them is there.
type gate struct {
	method string
	left   int
	open   chan struct{}
}

// newTap puts a tap before the API server. It ends with the test.
func (k *cluster) newTap() *tap {
	k.t.Helper()
	p, s := k.tap()
	s.Start()
	p.url = s.URL
	return p
}

// newTLSTap puts one there that has a certificate of its own.
func (k *cluster) newTLSTap() (p *tap, certificate []byte) {
	k.t.Helper()
	p, s := k.tap()
	s.StartTLS()
	p.url = s.URL
	return p, s.Certificate().Raw
}

// tap makes a tap that does not listen yet.
func (k *cluster) tap() (*tap, *httptest.Server) {
	k.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(k.ca())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "https", Host: APIAddress})
	}}
	p := &tap{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.pass(r)
		proxy.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that failed
	k.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		transport.CloseIdleConnections()
	})
	return p, s
}

// pass takes a request down, and returns when it may go on.
func (p *tap) pass(r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r.Method+" "+r.URL.Path)
	g := p.gate
	if g == nil || g.method != r.Method {
		p.mu.Unlock()
		return
	}
	if g.left--; g.left == 0 {
		close(g.open)
		p.gate = nil
	}
	p.mu.Unlock()
	select {
	case <-g.open:
	case <-r.Context().Done():
	}
}

// hold lets the next requests of a method wait for each other.
func (p *tap) hold(method string, number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = &gate{method, number, make(chan struct{})}
}

// take returns the requests since the last call that is approves of.
func (p *tap) take(is func(request string) bool) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, r := range p.requests {
		if is(r) {
			list = append(list, r)
		}
	}
	p.requests = nil
	return list
}
