package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// explain turns an error of the client into a sentence: what was attempted, where, what came of it, what to do.
func (s *Store) explain(what string, err error) error {
	where := strings.Join(s.o.Endpoints, ", ")
	if c := s.made(); c != nil {
		where = c.from
	}
	if where == "" {
		return fmt.Errorf("%s (Kubernetes API): %w", what, err)
	}
	return fmt.Errorf("%s (Kubernetes API at %s): %w", what, where, s.advise(err))
}

// advise adds the remedy where there is one.
func (s *Store) advise(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: weftd must be allowed to get, list, watch and patch nodes, and to patch nodes/status", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: check the kubeconfig, or the service account's token", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s: is it running, and reachable from here? (%w)", s.o.RequestTimeout, err)
	case unheard(err):
		return fmt.Errorf("%w: is it running, and reachable from here?", err)
	}
	return err
}
