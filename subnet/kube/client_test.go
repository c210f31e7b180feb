package kube

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

// server answers with its name, or with a status.
func server(t *testing.T, name string, status *int) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if *status != http.StatusOK {
			w.WriteHeader(*status)
		}
		_, _ = w.Write([]byte(name))
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// closed is an address where nobody listens.
func closed(t *testing.T) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

func TestServersAreTriedInTurn(t *testing.T) {
	ok, second := http.StatusOK, http.StatusOK
	turns := &turns{next: &http.Transport{}, urls: []*url.URL{closed(t), server(t, "a", &second), server(t, "b", &ok), closed(t)}}
	client := &http.Client{Transport: turns}
	t.Cleanup(client.CloseIdleConnections)
	ask := func() string {
		resp, err := client.Post(turns.urls[0].String()+"/api", "text/plain", strings.NewReader("body"))
		if err != nil {
			return "error"
		}
		defer resp.Body.Close()
		var b [1]byte
		if _, err := resp.Body.Read(b[:]); b[0] == 0 {
			return err.Error()
		}
		return string(b[:])
	}
	var got []string
	for range 3 {
		got = append(got, ask()) // the first is refused, and nobody asks it again
	}
	second = http.StatusServiceUnavailable
	for range 3 {
		got = append(got, ask()) // the second says no: it may have heard, so that only what follows goes elsewhere
	}
	if diff := cmp.Diff([]string{"a", "a", "a", "a", "b", "b"}, got); diff != "" {
		t.Errorf("who answered (-want +got):\n%s", diff)
	}
}

func TestNobodyAnswers(t *testing.T) {
	turns := &turns{next: &http.Transport{}, urls: []*url.URL{closed(t), closed(t)}}
	_, err := (&http.Client{Transport: turns}).Get(turns.urls[0].String())
	if err == nil || !unheard(err) {
		t.Errorf("error %v", err)
	}
}

func TestOptions(t *testing.T) {
	o, err := Options{Node: "n", Endpoints: []string{"", " 192.0.2.1:6443 ", "http://127.0.0.1:8080"}, Prefix: "example.org/"}.checked()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"https://192.0.2.1:6443", "http://127.0.0.1:8080"}
	if diff := cmp.Diff(want, o.Endpoints); diff != "" || o.Prefix != "example.org" || o.ConfigPath != DefaultConfigPath {
		t.Errorf("options %+v\n%s", o, diff)
	}
	_, err = Options{Endpoints: []string{"ftp://x", "https://"}, Prefix: "a/b"}.checked()
	for _, part := range []string{"name of this node", `"ftp://x"`, `"https://"`, `"a/b"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
}

// TestCredentialsMayCome makes a store before its kubeconfig is there.
func TestCredentialsMayCome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	s, err := New(Options{Node: "n", Kubeconfig: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.connect(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without a kubeconfig: %v", err)
	}
	const text = `{"apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [{"name": "c", "cluster": {"server": "http://192.0.2.1:8080"}}],
		"contexts": [{"name": "x", "context": {"cluster": "c"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := s.connect()
	if err != nil || c.from != "http://192.0.2.1:8080" {
		t.Errorf("with a kubeconfig: %+v, %v", c, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.connect(); err == nil {
		t.Error("a store that is closed connects")
	}
}

func TestNotInCluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	s, err := New(Options{Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Claim(t.Context(), want("n"))
	if err == nil || !strings.Contains(err.Error(), "--kubeconfig-file") || !errors.Is(s.Health().Err, err) {
		t.Errorf("outside of a cluster: %v, health %+v", err, s.Health())
	}
	s.o.KeepCondition = true
	if err := s.Report(t.Context(), false, "no cluster"); err == nil || !strings.Contains(err.Error(), "--kubeconfig-file") {
		t.Errorf("Report outside of a cluster: %v", err)
	}
	if err := s.Watch(t.Context(), func(subnet.Snapshot) bool { return true }); err == nil || !strings.Contains(err.Error(), "--kubeconfig-file") {
		t.Errorf("Watch outside of a cluster: %v", err)
	}
}

// want asks for the lease of a Node.
func want(node string) subnet.Want {
	return subnet.Want{Attrs: subnet.Attrs{Node: node, Backend: "vxlan"}}
}
