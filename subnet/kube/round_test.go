package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/weft-network/weft/subnet"
)

// end ends the stream, after more than the moment for which the reflector takes a server to be broken.
func (c *call) end() {
	time.Sleep(2 * time.Second)
	_ = c.out.Close()
}

// follower is a Store that follows an api.
type follower struct {
	*api
	s     *Store
	told  []string // what Watch's function was told, in words
	doubt bool     // it does not believe the next picture
	done  chan error
}

// following lets a Store follow an api in a bubble of its own.
func following(t *testing.T, do func(*follower)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net-conf.json")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &follower{api: &api{t, make(chan *call)}, done: make(chan error, 1)}
		var err error
		if f.s, err = New(Options{Node: "node-1", ConfigPath: path}); err != nil {
			t.Fatal(err)
		}
		f.s.client = &client{from: "here"}
		if f.s.client.RESTClient, err = speak(&rest.Config{Host: "https://192.0.2.1"}, &http.Client{Transport: f.api}); err != nil {
			t.Fatal(err)
		}
		teller := &teller{f: f.see, file: newConfigFile(path, f.s.log), bell: make(chan struct{}, 1)}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.done <- f.s.follow(ctx, teller)
		}()
		do(f)
		cancel()
		<-ended
	})
}

func (f *follower) see(p subnet.Snapshot) bool {
	var words []string
	for s, l := range p.Leases {
		words = append(words, s.String()+" at "+l.Addresses())
	}
	slices.Sort(words)
	word := strings.Join(words, ", ")
	if p.Changed != nil {
		word += fmt.Sprintf("; changed %v", p.Changed)
	}
	f.told = append(f.told, word)
	believed := !f.doubt
	f.doubt = false
	return believed
}

// begin answers the first request: there are Nodes 1 and 2.
func (f *follower) begin() *call {
	f.t.Helper()
	c := f.next(everything)
	c.stream(news("ADDED", 1, 5), news("ADDED", 2, 7), complete(10))
	f.saw(both)
	return c
}

const both = "10.5.1.0/24 at 192.168.0.1, 10.5.2.0/24 at 192.168.0.2"

// saw compares what has been told since the last call.
func (f *follower) saw(want ...string) {
	f.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, f.told); diff != "" {
		f.t.Errorf("told (-want +got):\n%s", diff)
	}
	f.told = nil
}

// ended returns why the Store follows no more.
func (f *follower) ended() error {
	f.t.Helper()
	select {
	case err := <-f.done:
		return err
	case <-time.After(time.Hour):
		f.t.Fatal("it goes on")
		return nil
	}
}

// unwell tells whether Health has an error with these words; none says that all is well.
func (f *follower) unwell(words ...string) {
	f.t.Helper()
	synctest.Wait()
	err := f.s.Health().Err
	if (err != nil) != (len(words) > 0) {
		f.t.Errorf("health: %v, want %q", err, words)
	}
	for _, w := range words {
		if err != nil && !strings.Contains(err.Error(), w) {
			f.t.Errorf("health: %v, want %q in it", err, w)
		}
	}
}

// TestShortBreak cuts off an API server: what follows is asked for from where it ended, soon, and nothing is read again.
func TestShortBreak(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		away       error
	}{
		{"refused", "nobody there", errors.New("nobody there")},
		{"hung up", "no answer, or a connection that broke", io.EOF},
		{"timeout", "no answer, or a connection that broke", os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			following(t, func(f *follower) {
				c := f.begin()
				c.send(news("MODIFIED", 2, 12))
				f.saw()
				c.send(`{"type": "BOOKMARK", "object": {"kind": "Node", "apiVersion": "v1", "metadata": {"resourceVersion": "20"}}}`)
				f.unwell()
				c.end()
				began := time.Now()
				for time.Since(began) < 20*time.Second {
					f.next("what follows 20").fail(tt.away)
					f.unwell("follow the Nodes (Kubernetes API at here): " + tt.want)
				}
				back := time.Now()
				c = f.next("what follows 20")
				if waited := time.Since(back); waited > 3*time.Second {
					t.Errorf("asked again after %s", waited)
				}
				c.stream(news("DELETED", 2, 21))
				f.saw("10.5.1.0/24 at 192.168.0.1; changed [10.5.2.0/24]")
				f.unwell()
				c.end()
				f.next("what follows 21")
			})
		})
	}
}

// TestLongBreak cuts off an API server for as long as it takes.
func TestLongBreak(t *testing.T) {
	following(t, func(f *follower) {
		f.begin().end()
		began := time.Now()
		go func() {
			for c := range f.calls {
				c.fail(errors.New("nobody there"))
			}
		}()
		err := f.ended()
		close(f.calls)
		if took := time.Since(began); took < rideOver || took > rideOver+5*time.Second {
			t.Errorf("it gave up after %s", took)
		}
		if want := "follow the Nodes (Kubernetes API at here): nobody there"; err == nil || err.Error() != want {
			t.Errorf("it gave up with %v, want %s", err, want)
		}
		f.saw()
	})
}

// TestHistoryIsGone lets the API server forget what was missed, in its two ways to say so.
func TestHistoryIsGone(t *testing.T) {
	for name, forget := range map[string]func(*call){
		"refused":       func(c *call) { c.refuse(http.StatusGone, "Expired") },
		"in the stream": func(c *call) { c.stream(`{"type": "ERROR", "object": ` + status(http.StatusGone, "Expired") + `}`) },
	} {
		t.Run(name, func(t *testing.T) {
			following(t, func(f *follower) {
				f.begin().end()
				f.next("what follows 10").fail(errors.New("nobody there"))
				forget(f.next("what follows 10"))
				c := f.next(everything)
				c.stream(news("ADDED", 2, 30), complete(31))
				f.saw("10.5.2.0/24 at 192.168.0.2")
				f.unwell()
				time.Sleep(time.Hour)
				c.end()
				f.next("what follows 31").fail(errors.New("nobody there"))
				f.next("what follows 31")
			})
		})
	}
}

// TestBrokenStream lets streams end with an error at once: they are taken up again from where they ended, and no more
// than one a second.
func TestBrokenStream(t *testing.T) {
	following(t, func(f *follower) {
		f.begin().end()
		began := time.Now()
		for range 15 {
			f.next("what follows 10").stream(`{"type": "ERROR", "object": ` + status(http.StatusInternalServerError, "InternalError") + `}`)
		}
		if took := time.Since(began); took < 10*time.Second {
			t.Errorf("15 streams within %s", took)
		}
		f.next("what follows 10").stream(news("DELETED", 2, 21))
		f.saw("10.5.1.0/24 at 192.168.0.1; changed [10.5.2.0/24]")
	})
}

// TestNoStreamedLists reads pages from an API server that knows nothing else.
func TestNoStreamedLists(t *testing.T) {
	following(t, func(f *follower) {
		f.next(everything).refuse(http.StatusUnprocessableEntity, "Invalid")
		f.next(aPage).say(http.StatusOK, list("more", 10, object(1, 5)))
		f.next(aPage+" after more").say(http.StatusOK, list("", 10, object(2, 7)))
		c := f.next("what follows 10")
		f.saw(both)
		c.stream(news("MODIFIED", 2, 12), news("ADDED", 3, 13))
		f.saw(both + ", 10.5.3.0/24 at 192.168.0.3; changed [10.5.3.0/24]")
	})
}

// TestAwayAtFirst begins while the API server is away: the caller is told at once.
func TestAwayAtFirst(t *testing.T) {
	following(t, func(f *follower) {
		began := time.Now()
		f.next(everything).fail(errors.New("nobody there"))
		err := f.ended()
		if want := "read the Nodes (Kubernetes API at here): nobody there"; err == nil || err.Error() != want || time.Since(began) > time.Second {
			t.Errorf("it ended after %s with %v, want %s", time.Since(began), err, want)
		}
		f.saw()
	})
}

// TestSilence opens the stream of all Nodes, and lets them come slowly, and then not at all.
func TestSilence(t *testing.T) {
	following(t, func(f *follower) {
		c := f.next(everything)
		c.stream()
		for n := range 5 {
			time.Sleep(f.s.o.RequestTimeout - time.Second)
			c.send(news("ADDED", n, n+1))
		}
		began := time.Now()
		err := f.ended()
		if want := "read the Nodes (Kubernetes API at here): no answer for 10s"; err == nil || err.Error() != want || time.Since(began) > f.s.o.RequestTimeout+time.Second {
			t.Errorf("it ended after %s with %v, want %s", time.Since(began), err, want)
		}
		f.saw()
	})
}

// TestDoubt does not believe what it sees.
func TestDoubt(t *testing.T) {
	following(t, func(f *follower) {
		c := f.begin()
		f.doubt = true
		began := time.Now()
		c.send(news("DELETED", 2, 11))
		c = f.next(everything)
		if waited := time.Since(began); waited < f.s.o.RereadDelay || waited > 2*f.s.o.RereadDelay {
			t.Errorf("read again after %s", waited)
		}
		f.saw("10.5.1.0/24 at 192.168.0.1; changed [10.5.2.0/24]")
		c.stream(news("ADDED", 1, 5), complete(12))
		f.saw("10.5.1.0/24 at 192.168.0.1")
	})
}

// TestContestIsHeard holds that a question about the own Node is heard, whether it was there first or came later.
func TestContestIsHeard(t *testing.T) {
	asking := func(kind string) string {
		return strings.Replace(news(kind, 1, 11), `"annotations": {`, `"annotations": {"flannel.alpha.coreos.com/weft-contest": "word", `, 1)
	}
	heard := func(f *follower) bool {
		synctest.Wait()
		select {
		case <-f.s.asked:
			return true
		default:
			return false
		}
	}
	following(t, func(f *follower) {
		c := f.next(everything)
		c.stream(asking("ADDED"), complete(11))
		if !heard(f) {
			t.Error("a question that was there was not heard")
		}
		c.send(news("MODIFIED", 1, 12))
		if heard(f) {
			t.Error("a question was heard that was not asked")
		}
		c.send(asking("MODIFIED"))
		if !heard(f) {
			t.Error("a question was not heard")
		}
	})
}
