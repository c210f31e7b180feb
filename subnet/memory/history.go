package memory

import "github.com/weft-network/weft/subnet"

// history is which keys changed, in order, as far back as it is kept.
type history struct {
	base uint64 // number of the first one that is kept
	keys []subnet.Subnets
}

// most is how many changes are kept. A Watch that is further behind reads everything again.
const most = 1 << 14

func (h *history) add(s subnet.Subnets) {
	if len(h.keys) == most {
		h.base += most / 2
		h.keys = append(h.keys[:0:0], h.keys[most/2:]...)
	}
	h.keys = append(h.keys, s)
}

// next is the number that the next change will have.
func (h *history) next() uint64 { return h.base + uint64(len(h.keys)) }

// since returns the keys that changed from number at on, each once; false where that is not known any more.
func (h *history) since(at uint64) ([]subnet.Subnets, bool) {
	if at < h.base {
		return nil, false
	}
	changed := []subnet.Subnets{} // not nil, which would mean "any"
	seen := map[subnet.Subnets]bool{}
	for _, s := range h.keys[at-h.base:] {
		if !seen[s] {
			seen[s] = true
			changed = append(changed, s)
		}
	}
	return changed, true
}

// forget drops everything, also for those who have seen all so far.
func (h *history) forget() {
	h.base = h.next() + 1
	h.keys = nil
}
