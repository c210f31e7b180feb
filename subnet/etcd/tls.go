package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"google.golang.org/grpc/credentials"
)

// secured is a connection's TLS. It reads the files of Options at each handshake, so that a renewed certificate or
// authority is in use from the next connection on. While a file cannot be read, or the pair does not fit because only
// half of it has been replaced, what was read last stays in use.
type secured struct {
	credentials.TransportCredentials // for what does not depend on files

	caFile, certFile, keyFile string

	mu    sync.Mutex
	roots *x509.CertPool // last good
	pair  *tls.Certificate
	last  error // of the last handshake
}

func newSecured(o Options) *secured {
	return &secured{
		TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}),
		caFile:               o.CAFile,
		certFile:             o.CertFile,
		keyFile:              o.KeyFile,
	}
}

// ClientHandshake implements credentials.TransportCredentials.
func (t *secured) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, err := t.config()
	var secure net.Conn
	var info credentials.AuthInfo
	if err == nil {
		secure, info, err = credentials.NewTLS(cfg).ClientHandshake(ctx, authority, conn)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = err
	return secure, info, err
}

// trouble is why the last handshake failed; nil if it did not.
func (t *secured) trouble() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// Clone implements credentials.TransportCredentials. It is never changed; one serves all.
func (t *secured) Clone() credentials.TransportCredentials { return t }

// config reads the files.
func (t *secured) config() (*tls.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.caFile != "" {
		roots, err := readRoots(t.caFile)
		if err == nil {
			t.roots = roots
		}
		if t.roots == nil {
			return nil, err
		}
		cfg.RootCAs = t.roots
	}
	if t.certFile != "" {
		pair, err := tls.LoadX509KeyPair(t.certFile, t.keyFile)
		if err == nil {
			t.pair = &pair
		}
		if t.pair == nil {
			return nil, fmt.Errorf("tls: read the client certificate %s and its key %s: %w", t.certFile, t.keyFile, err)
		}
		cfg.Certificates = []tls.Certificate{*t.pair}
	}
	return cfg, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tls: read the CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("tls: no certificate in the CA file " + file)
	}
	return roots, nil
}
