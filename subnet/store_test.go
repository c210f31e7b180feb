package subnet_test

import (
	"errors"
	"testing"
	"time"

	"github.com/weft-network/weft/subnet"
)

func TestHealthNotesRequests(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	refused := errors.New("connection refused")
	var h subnet.Health
	h.Note(refused, noon)
	if want := (subnet.Health{Err: refused, Errors: 1}); h != want {
		t.Errorf("after a failure %+v, want %+v", h, want)
	}
	h.Note(nil, noon.Add(time.Second))
	if want := (subnet.Health{Since: noon.Add(time.Second), Errors: 1}); h != want {
		t.Errorf("after an answer %+v, want %+v", h, want)
	}
	h.Note(refused, noon.Add(time.Minute))
	if want := (subnet.Health{Since: noon.Add(time.Second), Err: refused, Errors: 2}); h != want {
		t.Errorf("after another failure %+v, want %+v", h, want)
	}
}
