package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// api is an API server whose answers a test gives one by one.
type api struct {
	t     *testing.T
	calls chan *call
}

// call is one request, and its answer.
type call struct {
	t      *testing.T
	query  url.Values
	ctx    context.Context
	answer chan any // *http.Response or error
	out    *io.PipeWriter
}

// RoundTrip hands a request to the test.
func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	c := &call{t: a.t, query: r.URL.Query(), ctx: r.Context(), answer: make(chan any, 1)}
	select {
	case a.calls <- c:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	select {
	case x := <-c.answer:
		if err, failed := x.(error); failed {
			return nil, err
		}
		return x.(*http.Response), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// next returns the next request, which has to ask for what is wanted.
func (a *api) next(want string) *call {
	a.t.Helper()
	select {
	case c := <-a.calls:
		if got := asked(c.query); got != want {
			a.t.Errorf("asked for %q, want %q", got, want)
		}
		return c
	case <-time.After(time.Hour):
		a.t.Fatalf("nobody asked for %q", want)
		return nil
	}
}

// What is asked for.
const (
	everything = "all and what follows"
	aPage      = "a page"
)

// asked says in words what is asked for.
func asked(q url.Values) string {
	switch {
	case q.Get("sendInitialEvents") == "true":
		return everything + after(" not before ", q.Get("resourceVersion"))
	case q.Get("watch") == "true":
		return "what follows" + after(" ", q.Get("resourceVersion"))
	}
	return aPage + after(" after ", q.Get("continue")) + after(" not before ", q.Get("resourceVersion"))
}

func after(word, value string) string {
	if value == "" {
		return ""
	}
	return word + value
}

// fail answers that nobody is there.
func (c *call) fail(err error) { c.answer <- err }

// say answers with a text.
func (c *call) say(status int, text string) {
	c.answer <- &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text))}
}

// refuse answers with an error of the API.
func (c *call) refuse(code int, reason string) { c.say(code, status(code, reason)) }

func status(code int, reason string) string {
	return fmt.Sprintf(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": %q, "code": %d, "message": "no"}`, reason, code)
}

// stream answers with a stream of events.
func (c *call) stream(events ...string) {
	in, out := io.Pipe()
	context.AfterFunc(c.ctx, func() { _ = in.CloseWithError(c.ctx.Err()) })
	c.out = out
	c.answer <- &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: in}
	c.send(events...)
}

func (c *call) send(events ...string) {
	c.t.Helper()
	for _, e := range events {
		if _, err := io.WriteString(c.out, e+"\n"); err != nil {
			c.t.Errorf("the stream is not read: %v", err)
		}
	}
}

// object is Node number at a version, in JSON.
func object(number, version int) string {
	return fmt.Sprintf(`{"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-%d", "resourceVersion": "%d", "annotations": {`+
		`"flannel.alpha.coreos.com/kube-subnet-manager": "true", "flannel.alpha.coreos.com/backend-type": "vxlan", "flannel.alpha.coreos.com/public-ip": "192.168.0.%d"}},`+
		`"spec": {"podCIDRs": ["10.5.%d.0/24"]}}`, number, version, number, number)
}

func news(kind string, number, version int) string {
	return fmt.Sprintf(`{"type": %q, "object": %s}`, kind, object(number, version))
}

// complete says that all Nodes have come.
func complete(version int) string {
	return fmt.Sprintf(`{"type": "BOOKMARK", "object": {"kind": "Node", "apiVersion": "v1", "metadata": {"resourceVersion": "%d", "annotations": {"k8s.io/initial-events-end": "true"}}}}`, version)
}

func list(next string, version int, nodes ...string) string {
	return fmt.Sprintf(`{"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "%d", "continue": %q}, "items": [%s]}`, version, next, strings.Join(nodes, ","))
}
