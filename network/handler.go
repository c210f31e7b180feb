package network

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves the agent's state over HTTP, as the function Handler does.
func (a *Agent) Handler() http.Handler { return Handler(a) }

// Handler serves the state of the agents of a node over HTTP: /status (Status of the first as JSON, with those of the others in it),
// /healthz (200 while the loops of all are alive), /readyz (200 while all hold their leases and have every peer programmed, else 503 and
// the reasons, one a line) and /metrics (Prometheus).
func Handler(first *Agent, others ...*Agent) http.Handler { return handle(first, others) }

func handle(first *Agent, others []*Agent) *http.ServeMux {
	all := append([]*Agent{first}, others...)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		s := first.Status()
		for _, a := range others {
			s.Networks = append(s.Networks, a.Status())
		}
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(s) // the reader may be gone; nothing is owed to it
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, all, func(a *Agent) (why []string) {
			if d := a.stuck(); d > 0 {
				why = append(why, fmt.Sprintf("a pass over the kernel has been at work for %s", d))
			}
			return why
		})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, all, (*Agent).notReady)
	})
	var metrics prometheus.Gatherers
	for _, a := range all {
		metrics = append(metrics, a.metrics.registry)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// answer says ok, or with 503 all that is wrong, by network.
func answer(w http.ResponseWriter, all []*Agent, wrong func(*Agent) []string) {
	var lines []string
	for _, a := range all {
		for _, why := range wrong(a) {
			if a.o.Mark.Name != "" {
				why = networkText(a.o.Mark) + ": " + why
			}
			lines = append(lines, why)
		}
	}
	if len(lines) > 0 {
		http.Error(w, strings.Join(lines, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
