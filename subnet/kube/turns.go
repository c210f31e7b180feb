package kube

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// turns sends requests to the first of several API servers, and to the next one from when that one fails.
type turns struct {
	next http.RoundTripper
	urls []*url.URL

	mu sync.Mutex
	at int
}

// RoundTrip sends r. A request that reached nobody is tried with every server in turn; one that failed otherwise may
// have been heard, and only later ones go elsewhere.
func (t *turns) RoundTrip(r *http.Request) (*http.Response, error) {
	for tries := 1; ; tries++ {
		at := t.current()
		out, err := t.to(at, r)
		if err != nil {
			return nil, err
		}
		resp, err := t.next.RoundTrip(out)
		if err == nil && resp.StatusCode < 500 || r.Context().Err() != nil {
			return resp, err
		}
		t.skip(at)
		if err == nil || !unheard(err) || tries >= len(t.urls) || r.Body != nil && r.GetBody == nil {
			return resp, err
		}
	}
}

// unheard tells whether a request did not leave this host.
func unheard(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func (t *turns) current() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

// skip moves on from a server, unless another request has done so.
func (t *turns) skip(at int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == at {
		t.at = (at + 1) % len(t.urls)
	}
}

// to addresses r to a server.
func (t *turns) to(at int, r *http.Request) (*http.Request, error) {
	if len(t.urls) == 1 {
		return r, nil
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.Host = t.urls[at].Scheme, t.urls[at].Host, ""
	if r.GetBody == nil {
		return out, nil
	}
	body, err := r.GetBody()
	out.Body = body
	return out, err
}

// WrappedRoundTripper is what client-go looks for to end connections.
func (t *turns) WrappedRoundTripper() http.RoundTripper { return t.next }

// texts lists URLs for messages.
func texts(urls []*url.URL) string {
	var words []string
	for _, u := range urls {
		words = append(words, u.String())
	}
	return strings.Join(words, ", ")
}
