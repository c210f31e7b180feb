package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// accountDir is where Kubernetes puts the credentials of a pod.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// api asks the API server for its version, by its Service and as the pod's service account.
func api(ctx context.Context, out io.Writer) error {
	token, err := os.ReadFile(filepath.Join(accountDir, "token"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(accountDir, "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	server := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server+"/version", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+string(token))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := statusError(answer); err != nil {
		return fmt.Errorf("ask the API server at %s: %w", server, err)
	}
	_, err = io.Copy(out, answer.Body)
	return err
}
