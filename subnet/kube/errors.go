package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// explain turns an error of the client into a sentence: what was attempted, where, what came of it, what to do.
// It reads the same each time, so that it is told once: the URL of a request does not.
func (s *Store) explain(what string, err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	c := s.made()
	if c == nil {
		c = &client{from: strings.Join(s.o.Endpoints, ", "), creds: s.o.Kubeconfig}
	}
	if c.from == "" {
		return fmt.Errorf("%s (Kubernetes API): %w", what, err)
	}
	return fmt.Errorf("%s (Kubernetes API at %s): %w", what, c.from, s.advise(err, c.creds))
}

// advise adds the remedy where there is one. creds is where the credentials are from.
func (s *Store) advise(err error, creds string) error {
	switch {
	case strings.Contains(err.Error(), "ValidatingAdmissionPolicy"): // "invalid", or what reason the policy gives
		return fmt.Errorf("%w: this policy is not for this weftd, or for other settings of it: apply the manifest again, which has both", err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: weftd must be allowed to get, list, watch and patch nodes, and to patch nodes/status", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: the credentials (%s) have expired or are not this cluster's: renew them, as the kubelet does for a pod, and weftd reads them again", err, creds)
	case untrusted(err):
		return fmt.Errorf("%w: the CA certificate (%s) is not that of this API server: put the right one there, and weftd reads it again", err, creds)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s: is it running, and reachable from here? (%w)", s.o.RequestTimeout, err)
	case unheard(err), errors.Is(err, errUnanswered):
		return fmt.Errorf("%w: is it running, and reachable from here?", err)
	}
	return err
}

// untrusted tells whether the API server could not prove that it is the one.
func untrusted(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}
