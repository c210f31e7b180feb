package etcd

import (
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

var errClosed = errors.New("the store is closed")

// connect returns the client, which it makes when it is first needed: with a user name, the client's own constructor
// waits for etcd.
func (s *Store) connect() (*clientv3.Client, error) {
	s.dial.Lock()
	defer s.dial.Unlock()
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	if s.client != nil {
		return s.client, nil
	}
	cfg := clientv3.Config{
		Context:     s.ctx,
		Endpoints:   s.o.Endpoints,
		Username:    s.o.Username,
		Password:    s.o.Password,
		Logger:      zap.NewNop(),
		DialTimeout: s.o.RequestTimeout, // it bounds the first request for a token, and nothing else
		// A server that is gone without a word is noticed within 13 s. Neither end accepts much less.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
				MinConnectTimeout: s.o.DialTimeout,
			}),
		},
	}
	if s.tls != nil {
		cfg.DialOptions = append(cfg.DialOptions, grpc.WithTransportCredentials(s.tls))
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	s.client = client
	return client, nil
}
