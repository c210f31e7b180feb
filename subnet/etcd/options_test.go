package etcd

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPrefix(t *testing.T) {
	for in, want := range map[string]string{
		"": "/coreos.com/network/", "/": "/coreos.com/network/", "/coreos.com/network": "/coreos.com/network/",
		"coreos.com/network/": "/coreos.com/network/", "//a//b//": "/a/b/", "a": "/a/",
	} {
		if got := cleanPrefix(in); got != want {
			t.Errorf("cleanPrefix(%q) = %q: want %q", in, got, want)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want []string
	}{
		{Options{Endpoints: []string{"http://127.0.0.1:4001", "http://127.0.0.1:2379/"}}, []string{"http://127.0.0.1:4001", "http://127.0.0.1:2379"}},
		{Options{Endpoints: []string{"10.0.0.1:2379", " etcd "}}, []string{"http://10.0.0.1:2379", "http://etcd:2379"}},
		{Options{Endpoints: []string{"10.0.0.1"}, CAFile: "ca.pem"}, []string{"https://10.0.0.1:2379"}},
		{Options{Endpoints: []string{"https://[2001:db8::1]"}}, []string{"https://[2001:db8::1]:2379"}},
		{Options{Endpoints: []string{"unix:///run/etcd.sock"}}, []string{"unix:///run/etcd.sock"}},
	} {
		got, err := tt.o.checked()
		if err != nil {
			t.Errorf("%v: %v", tt.o.Endpoints, err)
		}
		if diff := cmp.Diff(tt.want, got.Endpoints); diff != "" {
			t.Errorf("endpoints (-want +got):\n%s", diff)
		}
	}
}

func TestOptionsWrong(t *testing.T) {
	for want, o := range map[string]Options{
		"no etcd endpoint":        {},
		"want http, https, unix":  {Endpoints: []string{"ftp://etcd"}},
		"no host":                 {Endpoints: []string{"http://:2379"}},
		"all must use TLS":        {Endpoints: []string{"http://a", "https://b"}},
		"give both files":         {Endpoints: []string{"https://a"}, CertFile: "cert.pem"},
		"without a user name":     {Endpoints: []string{"https://a"}, Password: "secret"},
		"etcd endpoint \"http://": {Endpoints: []string{"http://[::1"}},
	} {
		s, err := New(o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v) = %v, %v: want an error with %q", o, s, err, want)
		}
	}
	_, err := New(Options{Endpoints: []string{"ftp://etcd"}, Password: "x", KeyFile: "y"})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three mistakes are reported as: %v", err)
	}
}

// TestUnreachable has no etcd at all: New does not mind, everything else says what it tried.
func TestUnreachable(t *testing.T) {
	for _, user := range []string{"", "weft"} {
		s := newStore(t, Options{Endpoints: []string{"http://127.0.0.1:1"}, RequestTimeout: time.Second, Username: user, Password: user})
		if h := s.Health(); !h.Since.IsZero() || h.Err != nil {
			t.Errorf("health before anything: %+v", h)
		}
		_, err := s.Claim(t.Context(), wantOf(parseConfig(t, netconf), 1))
		for _, want := range []string{"node-1", "read the leases", "http://127.0.0.1:1", "is it running"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Claim without etcd: %v: want an error with %q", err, want)
			}
		}
		if h := s.Health(); h.Err == nil || h.Errors == 0 {
			t.Errorf("health without etcd: %+v", h)
		}
	}
}

func TestClosed(t *testing.T) {
	s := newStore(t, Options{Endpoints: []string{"http://127.0.0.1:1"}})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := s.Claim(t.Context(), wantOf(parseConfig(t, netconf), 1)); err == nil || !strings.Contains(err.Error(), errClosed.Error()) {
		t.Errorf("Claim after Close: %v", err)
	}
}
