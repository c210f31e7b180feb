package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain turns an error of the client into a sentence: what was attempted, where, what came of it, what to do. The
// client's own error stays inside.
func (s *Store) explain(what string, err error) error {
	return fmt.Errorf("%s (etcd at %s): %s", what, strings.Join(s.o.Endpoints, ", "), s.reason(err))
}

func (s *Store) reason(err error) string {
	err = rpctypes.Error(err) // what came from a raw stream is a status still
	text, code := status.Convert(err).Message(), status.Code(err)
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		text, code = e.Error(), e.Code()
	}
	switch {
	case errors.Is(err, rpctypes.ErrNoLeader):
		return "the cluster has no leader: more than half of its members must be up and reach each other"
	case errors.Is(err, rpctypes.ErrNoSpace):
		return "its database is full: compact and defragment it, then disarm the alarm"
	case errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrInvalidAuthToken):
		return fmt.Sprintf("it does not know user %q with this password", s.o.Username)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return "it wants a user name and a password"
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Sprintf("user %q must be allowed to read and write everything below %s", s.o.Username, s.o.Prefix)
	case s.tls.trouble() != nil:
		return s.tls.trouble().Error() + ": check the CA file and the client certificate"
	case errors.Is(err, context.DeadlineExceeded), code == codes.DeadlineExceeded:
		return fmt.Sprintf("no answer within %s: is it running, and reachable from here?", s.o.RequestTimeout)
	case code == codes.Unavailable:
		return text + ": is it running, and reachable from here?"
	}
	return text
}
