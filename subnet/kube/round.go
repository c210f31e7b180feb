package kube

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// rideOver is for how long Watch goes on by itself while the API server is away. One that restarts takes less, and what
// was missed can then be had without reading everything again, which thousands of agents would do at once.
const rideOver = 30 * time.Second

// round is one reading of all Nodes, and what follows from there: client-go's reflector decides what is asked of the API
// server and when, and round is its way to the server and the store that it fills. The reflector calls one method at a
// time.
type round struct {
	s      *Store
	t      *teller
	giveUp context.CancelCauseFunc // ends the round with an error

	pace    *rate.Limiter // of streams: the reflector takes up at once what breaks off
	filled  bool          // all Nodes have been read once
	late    *time.Timer   // gives up when the Nodes that there are do not come; nil while nothing is due
	failing time.Time     // since when the Nodes cannot be followed; zero while they can
}

var (
	_ cache.TransformingStore      = (*round)(nil)
	_ cache.ResourceVersionUpdater = (*round)(nil)
)

// run reflects the Nodes until ctx ends, and returns why it did.
func (r *round) run(ctx context.Context) error {
	ctx, r.giveUp = context.WithCancelCause(ctx)
	defer r.giveUp(nil)
	defer r.inTime()
	r.pace = rate.NewLimiter(rate.Every(time.Second), 5)
	quiet := klog.Logger{} // what matters to people is told by Health, and in the log by what is below
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.25, Steps: 10, Cap: 2 * time.Second}
	source := &cache.ListWatch{ListWithContextFunc: r.list, WatchFuncWithContext: r.watch}
	reflector := cache.NewReflectorWithOptions(source, &Node{}, r, cache.ReflectorOptions{Name: "nodes", Logger: &quiet, Backoff: &backoff})
	reflector.MaxInternalErrorRetryDuration = rideOver
	_ = backoff.DelayFunc().Until(klog.NewContext(ctx, quiet), true, true, func(ctx context.Context) (done bool, err error) {
		_ = reflector.ListAndWatchWithContext(ctx) // the errors are those of list and watch, which have dealt with them
		return false, nil
	})
	return context.Cause(ctx)
}

// list answers the reflector with a page of Nodes, where the API server cannot stream them. It is asked for the newest
// picture, and not for the one that it happens to have: another one may have said more before.
func (r *round) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.ResourceVersion = ""
	l, err := r.s.page(ctx, o)
	if err != nil && !gone(err) { // of a later page it may be gone: the reflector begins again
		r.giveUp(err)
	}
	return l, err
}

// watch answers the reflector with a stream: of all Nodes and what follows, or of what follows a version. Where the API
// server is away, the first ends the round, and the second is asked for again as long as what was missed can be had.
func (r *round) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if err := r.pace.Wait(ctx); err != nil {
		return nil, err
	}
	if o.SendInitialEvents != nil {
		return r.begin(ctx, o)
	}
	w, err := r.s.watch(ctx, o)
	if gone(err) {
		return nil, err // the reflector begins again
	}
	if err = r.s.outcome(ctx, "follow the Nodes", err); err == nil {
		r.failing = time.Time{}
		return w, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if r.failing.IsZero() {
		r.failing = time.Now()
		r.s.log.WithError(err).Warn("the Kubernetes API cannot be followed; the leases stay as they were")
	}
	if time.Since(r.failing) > rideOver {
		r.giveUp(err)
		return nil, err
	}
	// This is what has the reflector pause and ask for the same again, whatever the error; after others it reads all Nodes.
	return nil, apierrors.NewTooManyRequests(err.Error(), 0)
}

// begin opens the stream of all Nodes, which have to come without longer pauses than a request may take.
func (r *round) begin(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	const what = "read the Nodes"
	if r.filled {
		r.s.log.Info("the API server no longer has the changes that were missed: reading all Nodes again")
	}
	r.inTime()
	r.late = time.AfterFunc(r.s.o.RequestTimeout, func() {
		r.giveUp(r.s.outcome(ctx, what, fmt.Errorf("no answer for %s", r.s.o.RequestTimeout)))
	})
	o.ResourceVersion = ""
	w, err := r.s.watch(ctx, o)
	switch {
	case err == nil:
		return w, nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsInternalError(err):
		r.s.log.WithError(err).Debug("the API server does not stream lists, reading them in pages")
		r.inTime()
		return nil, err
	}
	r.giveUp(r.s.outcome(ctx, what, err))
	return nil, ctx.Err()
}

// inTime says that what was due has come.
func (r *round) inTime() {
	if r.late != nil {
		r.late.Stop()
		r.late = nil
	}
}

// Transformer implements cache.TransformingStore: the reflector keeps the extracts of the Nodes until all have come.
func (r *round) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		if r.late != nil {
			r.late.Reset(r.s.o.RequestTimeout)
		}
		n, ok := object.(*Node)
		if !ok {
			return object, nil // transformed before
		}
		return r.s.reader.extract(n), nil
	}
}

// Replace implements cache.ReflectorStore: all Nodes are there.
func (r *round) Replace(objects []any, version string) error {
	r.inTime()
	m := newMirror(r.s.reader)
	transform := r.Transformer()
	for _, object := range objects {
		object, err := transform(object)
		if err != nil {
			return err
		}
		m.put(object.(*extract))
	}
	m.version, m.live = version, true
	r.filled, r.failing = true, time.Time{}
	r.t.adopt(r.s, m)
	return nil
}

// Add implements cache.ReflectorStore.
func (r *round) Add(object any) error { return r.Update(object) }

// Update implements cache.ReflectorStore.
func (r *round) Update(object any) error {
	e := r.s.reader.extract(object.(*Node))
	r.t.change(r.s, func(m *mirror) { m.put(e) })
	r.s.hear(e.own.contest)
	return nil
}

// Delete implements cache.ReflectorStore.
func (r *round) Delete(object any) error {
	r.t.change(r.s, func(m *mirror) { m.remove(object.(*Node).Name) })
	return nil
}

// UpdateResourceVersion implements cache.ResourceVersionUpdater: it is called after each event, bookmarks among them.
func (r *round) UpdateResourceVersion(version string) {
	r.s.answered(nil)
	r.t.change(r.s, func(m *mirror) { m.version = version })
}

// Resync implements cache.ReflectorStore, which is never asked for it.
func (r *round) Resync() error { return nil }

// gone tells whether the API server no longer has the version that was asked for.
func gone(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }
