package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

// nodeWatch is a bare watcher of Nodes: what hears of them first.
type nodeWatch struct {
	body   io.ReadCloser
	events *json.Decoder
}

// watch follows the Nodes from now on.
func (n *nodes) watch(ctx context.Context) (*nodeWatch, error) {
	ca, err := os.ReadFile(n.file("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	text, err := n.Do(ctx, "GET", "/api/v1/nodes?limit=1", "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, "GET", "https://"+kubeAPI+"/api/v1/nodes?watch=true&resourceVersion="+list.Metadata.ResourceVersion, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer floor")
	resp, err := (&http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("watch Nodes: %s", resp.Status)
	}
	return &nodeWatch{resp.Body, json.NewDecoder(resp.Body)}, nil
}

// until reads events up to the one in which a Node is new.
func (w *nodeWatch) until(name string) error {
	for {
		var e struct {
			Type   string
			Object struct{ Metadata struct{ Name string } }
		}
		if err := w.events.Decode(&e); err != nil {
			return fmt.Errorf("watch Nodes: %w", err)
		}
		if e.Type == "ADDED" && e.Object.Metadata.Name == name {
			return nil
		}
	}
}

func (w *nodeWatch) close() { w.body.Close() }
