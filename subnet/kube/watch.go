package kube

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/pager"

	"github.com/weft-network/weft/subnet"
)

// Watch implements subnet.Store. The Nodes are streamed once, and followed from then on; they are read again as a whole
// when the API server no longer has the changes that were missed, and when f does not believe what it saw. A change that
// does not touch what Weft reads, as the heartbeats of the kubelets, leads to no call of f.
func (s *Store) Watch(ctx context.Context, f func(subnet.Snapshot) (believed bool)) error {
	g, gctx := errgroup.WithContext(ctx)
	file := newConfigFile(s.o.ConfigPath, s.log)
	g.Go(func() error { return file.watch(gctx) })
	g.Go(func() error { return s.answer(gctx) })
	g.Go(func() error { return s.follow(gctx, &teller{f: f, file: file, bell: make(chan struct{}, 1)}) })
	err := g.Wait()
	s.mu.Lock()
	s.mirror = nil // nobody keeps it true any more
	s.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// follow reads and follows, again whenever the picture is not believed.
func (s *Store) follow(ctx context.Context, t *teller) error {
	for {
		g, gctx := errgroup.WithContext(ctx)
		r := &round{s: s, t: t}
		g.Go(func() error { return r.run(gctx) })
		g.Go(func() error { return t.run(gctx, s) })
		if err := g.Wait(); !errors.Is(err, errDoubted) {
			return err
		}
		t.mirror = nil
		timer := time.NewTimer(s.o.RereadDelay + rand.N(s.o.RereadDelay/4+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// page reads Nodes, as many as o says.
func (s *Store) page(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	var l *NodeList
	err := s.request(ctx, "read the Nodes", func(ctx context.Context, c *client) (err error) {
		l, err = c.list(ctx, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// list reads all Nodes.
func (s *Store) list(ctx context.Context) (*mirror, error) {
	m := newMirror(s.reader)
	err := pager.New(s.page).EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error {
		m.put(s.extract(o.(*Node)))
		return nil
	})
	return m, err
}

// watch opens a stream.
func (s *Store) watch(ctx context.Context, o metav1.ListOptions) (w watch.Interface, err error) {
	err = s.attempt(func(c *client) (err error) {
		w, err = c.watch(ctx, o)
		return err
	})
	return w, err
}
