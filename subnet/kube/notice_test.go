package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
)

// told is what a server was told with Events, as text.
type told struct {
	mu     sync.Mutex
	lines  []string
	names  map[string]int
	status int  // what it answers, where that is not that all is well
	events bool // it refuses all but Events
}

func (l *told) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	var e struct {
		Metadata      struct{ Name string }
		Type, Message string
		Count         int
	}
	_ = json.Unmarshal(body, &e)
	status := l.status
	switch path := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/default/events"); {
	case l.events && path == r.URL.Path:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
		return
	case status != 0:
		l.lines = append(l.lines, "refused")
	case r.Method == http.MethodPost && path == "":
		l.names[e.Metadata.Name] = len(l.names) + 1
		l.lines = append(l.lines, fmt.Sprintf("%d: %s %s", l.names[e.Metadata.Name], e.Type, e.Message))
		status = http.StatusCreated
	case r.Method == http.MethodPatch && l.names[strings.TrimPrefix(path, "/")] > 0:
		l.lines = append(l.lines, fmt.Sprintf("%d: %d times", l.names[strings.TrimPrefix(path, "/")], e.Count))
		status = http.StatusOK
	default:
		status = http.StatusNotFound
	}
	w.WriteHeader(status)
}

// take returns what was told since the last call.
func (l *told) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// forget drops the Events, as an API server does after an hour.
func (l *told) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = map[string]int{}
}

func (l *told) answer(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}

// inMemory serves what is sent with it, without a network: time stands still in one.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result(), nil
}

// TestNotices goes through the life of a node, which says every second how it is.
func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &told{names: map[string]int{}}
		log := &strings.Builder{}
		logger := logrus.New()
		logger.SetOutput(log)
		s := storeOn(t, inMemory{server}, logger)
		live := func(d time.Duration, why func(second int) string) {
			t.Helper()
			for n := range int(d / time.Second) {
				text := why(n)
				if err := s.Report(t.Context(), text == "", text); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
		}
		step := func(what string, d time.Duration, why func(second int) string, want ...string) {
			t.Helper()
			live(d, why)
			if diff := cmp.Diff(want, server.take()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		says := func(text string) func(int) string { return func(int) string { return text } }

		step("a node that is connected when its agent starts", time.Hour, says(""))
		step("a pod CIDR is missing", 10*time.Minute, says("no pod CIDR"), "1: Warning no pod CIDR")
		step("it comes", time.Hour, says(""), "2: Normal "+connected)
		step("it goes", time.Minute, says("no pod CIDR"), "1: 2 times")
		step("another thing is missing too", time.Minute, says("no pod CIDR; no uplink"), "3: Warning no pod CIDR; no uplink")
		step("and stays so", 40*time.Minute, says("no pod CIDR; no uplink"), "3: 2 times")
		server.forget()
		step("the API server has forgotten", 20*time.Minute, says("no pod CIDR; no uplink"), "1: Warning no pod CIDR; no uplink")
		step("all is well again", time.Minute, says(""), "2: Normal "+connected)

		live(time.Hour, func(n int) string { return fmt.Sprint("attempt ", n) })
		if n := len(server.take()); n < 60 || n > 72 {
			t.Errorf("a sentence that changes each second led to %d Events in an hour, want one a minute", n)
		}

		time.Sleep(time.Hour)
		server.forget()
		for range 2 {
			if !s.Warn(t.Context(), "ConfigRefused", "a mistake") {
				t.Error("could not warn")
			}
		}
		if diff := cmp.Diff([]string{"1: Warning a mistake", "1: 2 times"}, server.take()); diff != "" {
			t.Errorf("a warning, twice (-want +got):\n%s", diff)
		}

		log.Reset()
		server.answer(http.StatusForbidden)
		live(time.Hour, says("no rights"))
		if n := len(server.take()); n < 10 || n > 15 {
			t.Errorf("who has no rights asked %d times in an hour, want once in %s", n, noticeFails)
		}
		if n := strings.Count(log.String(), "must be allowed to create and patch events"); n != 1 {
			t.Errorf("who has no rights says so %d times, want once:\n%s", n, log)
		}
		if h := s.Health(); h.Err != nil || h.Errors != 0 {
			t.Errorf("who has no rights for Events is not well: %+v", h)
		}
		if s.Warn(t.Context(), "ConfigRefused", "another mistake") {
			t.Error("who has no rights can warn")
		}
		server.take()
		server.answer(0)
		server.forget()
		step("the rights come", 2*noticeFails, says("no rights"), "1: Warning no rights")
	})
}

// storeOn is a store that leaves the condition alone, and whose requests go to next.
func storeOn(t *testing.T, next http.RoundTripper, log logrus.FieldLogger) *Store {
	t.Helper()
	s, err := New(Options{Node: "n", Endpoints: []string{"http://192.0.2.1"}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.connect()
	if err != nil {
		t.Fatal(err)
	}
	c.Client.Transport = next
	return s
}

func TestNoticesEndWithTheContext(t *testing.T) {
	log := &strings.Builder{}
	logger := logrus.New()
	logger.SetOutput(log)
	s := storeOn(t, inMemory{&told{status: http.StatusForbidden}}, logger)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.notify(ctx, false, "no pod CIDR", false)
	if log.Len() > 0 {
		t.Errorf("an agent that is told to stop says %s", log)
	}
}

// Who may not touch its Node may still have the right to say so.
func TestNoticesWithoutOtherRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &told{names: map[string]int{}, events: true}
		logger := logrus.New()
		logger.SetOutput(io.Discard)
		s := storeOn(t, inMemory{server}, logger)
		s.o.KeepCondition = true
		if err := s.Report(t.Context(), false, "no rights"); err == nil || !strings.Contains(err.Error(), "weftd must be allowed to") {
			t.Errorf("Report says %v", err)
		}
		if diff := cmp.Diff([]string{"1: Warning no rights"}, server.take()); diff != "" {
			t.Errorf("what was told (-want +got):\n%s", diff)
		}
	})
}

func TestEventName(t *testing.T) {
	long := strings.Repeat("a", 235) + "." + strings.Repeat("b", 17)
	for node, want := range map[string]string{
		"node-1": "node-1.0000000000000001",
		long:     strings.Repeat("a", 235) + ".0000000000000001",
	} {
		if got := eventName(node, time.Unix(0, 1)); got != want {
			t.Errorf("%s (%d bytes), want %s", got, len(got), want)
		}
	}
}
