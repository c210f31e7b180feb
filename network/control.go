package network

import (
	"encoding/json"
	"io"
	"net/http"
)

// Control is Handler, and takes orders: it is for a socket that only root may use. A POST of RotateOptions as JSON to /wireguard/rotate is
// Rotate of the agent that the parameter network names, the first one's without; its error is told with the status 409.
func Control(first *Agent, others ...*Agent) http.Handler {
	mux := handle(first, others)
	mux.HandleFunc("POST /wireguard/rotate", func(w http.ResponseWriter, r *http.Request) {
		var o RotateOptions
		if err := json.NewDecoder(io.LimitReader(r.Body, 4096)).Decode(&o); err != nil {
			http.Error(w, "the options are not as expected: "+err.Error(), http.StatusBadRequest)
			return
		}
		name := r.URL.Query().Get("network")
		for _, a := range append([]*Agent{first}, others...) {
			if a.o.Mark.Name != name {
				continue
			}
			if err := a.Rotate(o); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Error(w, "this weftd has no network of that name", http.StatusConflict)
	})
	return mux
}
