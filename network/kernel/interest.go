package kernel

import (
	"maps"
	"sync"
)

// interest is what Watch has to know of the last List and the Apply calls after it to tell what is ours.
type interest struct {
	scope   Scope
	sysctls map[string]bool
	carry   map[string]bool // devices that carry routes or tunnels of ours
}

// watched is the interest, shared between List, Apply and Watch. It has a lock of its own, because Watch must not wait for
// a long Apply: the kernel would run out of room for its announcements.
type watched struct {
	mu  sync.Mutex
	now interest // its maps are never changed, only replaced
}

func (w *watched) snapshot() interest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// listed replaces the interest by that of a List with its result.
func (w *watched) listed(scope Scope, sysctls []string, s State) {
	now := interest{scope: scope, sysctls: make(map[string]bool, len(sysctls)), carry: carriers(s)}
	for _, name := range sysctls {
		now.sysctls[name] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

// applied adds what was put.
func (w *watched) applied(put State) {
	carry := carriers(put)
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(carry, w.now.carry)
	w.now.carry = carry
}

// carriers returns the devices that routes and tunnels of s use.
func carriers(s State) map[string]bool {
	carry := map[string]bool{}
	for _, r := range s.Routes {
		if r.Link != "" && !carry[r.Link] {
			carry[r.Link] = true
		}
	}
	for _, l := range s.Links {
		if l.parent() != "" {
			carry[l.parent()] = true
		}
	}
	return carry
}
