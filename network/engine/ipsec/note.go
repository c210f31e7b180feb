package ipsec

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// noted is where the next agent finds what was put. The file lies beside charon's socket, and is as short-lived.
func (c *charon) noted() string { return filepath.Join(c.dir, "associations.json") }

// remember reads what the former agent has put, where this one has put nothing yet. Only what charon knows by the same name counts, so a
// file that is damaged or gone does no harm.
func (e *Engine) remember() {
	if len(e.wanted) > 0 {
		return
	}
	data, err := os.ReadFile(e.charon.noted())
	if err != nil {
		return
	}
	maps.Copy(e.wanted, parseNote(data))
}

// parseNote reads the file. What is not as it was written is left out.
func parseNote(data []byte) map[string]kernel.Association {
	var list []kernel.Association
	if json.Unmarshal(data, &list) != nil {
		return nil
	}
	all := map[string]kernel.Association{}
	for _, a := range list {
		if a.Own.IsValid() && a.Peer.IsValid() && a.Local.IsValid() && a.Remote.IsValid() {
			all[nameOf(a)] = a
		}
	}
	return all
}

// note writes what was put.
func (e *Engine) note() error {
	set := kernel.Set[kernel.AssociationKey, kernel.Association]{}
	for _, a := range e.wanted {
		set.Add(a)
	}
	data, err := json.Marshal(inOrder(set))
	if err != nil {
		return fmt.Errorf("write which associations there are: %w", err)
	}
	if _, err := subnet.WriteFile(e.charon.noted(), data, 0o600); err != nil {
		return fmt.Errorf("write which associations there are: %w", err)
	}
	return nil
}
