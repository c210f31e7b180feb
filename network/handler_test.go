package network

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// ask returns code and body of the answer at path.
func ask(t *testing.T, a *Agent, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	must(t, err)
	return w.Code, string(body)
}

func TestHandlerTellsWhetherTheNodeIsReady(t *testing.T) {
	b := newBed(t, "")
	a, _ := b.run()
	until(t, a, "told", func(s Status) bool { return strings.Contains(strings.Join(s.Waiting, " "), "no network config") })
	if code, body := ask(t, a, "/readyz"); code != 503 || !strings.Contains(body, "there is no network config yet; put net-conf.json into the store") {
		t.Errorf("readyz %d %s", code, body)
	}
	if code, body := ask(t, a, "/healthz"); code != 200 {
		t.Errorf("healthz %d %s", code, body)
	}
	b.peer(2)
	b.cluster.SetConfig(dual)
	until(t, a, "ready", ready)
	if code, body := ask(t, a, "/readyz"); code != 200 {
		t.Errorf("readyz %d %s", code, body)
	}
	code, body := ask(t, a, "/status")
	var s Status
	if err := json.Unmarshal([]byte(body), &s); code != 200 || err != nil || s.Node != "n1" || len(s.Peers) != 1 || len(s.Uplinks) != 2 {
		t.Errorf("status %d %v %s", code, err, body)
	}
	for _, want := range []string{
		"weft_ready 1", "weft_peers_wanted 1", "weft_peers_programmed 1", `weft_kernel_objects{kind="route"} 4`,
		`weft_kernel_changes_total{kind="link"} 2`, `weft_kernel_repairs_total{kind="route"} 0`, "weft_store_connected 1",
		"weft_store_errors_total 0", "weft_firewall_in_step 1",
	} {
		if _, body := ask(t, a, "/metrics"); !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %q:\n%s", want, body)
		}
	}
	if problems, err := testutil.GatherAndLint(a.metrics.registry); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

func TestHandlerTellsThatTheLoopIsStuck(t *testing.T) {
	b := newBed(t, dual)
	a, err := New(b.o)
	must(t, err)
	t.Cleanup(a.kern.Close)
	a.report.working(time.Now().Add(-2 * stuckAfter))
	if code, body := ask(t, a, "/healthz"); code != 503 || !strings.Contains(body, "at work for") {
		t.Errorf("healthz %d %s", code, body)
	}
}

func TestControlTakesOrders(t *testing.T) {
	a := pure(t, vxlan1)
	a.metrics = newMetrics(a)
	a.report.ready, a.report.plan = true, a.planOf(t, vxlan1)
	order := func(h http.Handler, target, body string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, target, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	for _, test := range []struct {
		target, body string
		code         int
		want         string
	}{
		{"/wireguard/rotate", "{}", http.StatusConflict, "the backend is vxlan"},
		{"/wireguard/rotate", `{"abort":true}`, http.StatusConflict, "under way"},
		{"/wireguard/rotate?network=blue", "{}", http.StatusConflict, "no network of that name"},
		{"/wireguard/rotate", "rotate!", http.StatusBadRequest, "not as expected"},
		{"/wireguard", "{}", http.StatusNotFound, ""},
	} {
		if code, body := order(Control(a), test.target, test.body); code != test.code || !strings.Contains(body, test.want) {
			t.Errorf("POST %s %s: %d %s, want %d %s", test.target, test.body, code, body, test.code, test.want)
		}
	}
	if code, body := order(Handler(a), "/wireguard/rotate", "{}"); code != http.StatusNotFound {
		t.Errorf("an order is taken where anybody may ask: %d %s", code, body)
	}
}
