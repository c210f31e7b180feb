package subnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Way is one way to reach the pods of a node: a backend, and what peers must know to use it.
type Way struct {
	Backend string    // backend type
	Agreed  string    // what both ends must have in common beside the type, in words; equal texts are equal agreements
	Config  string    // the Backend object by which the node makes the way again, compact, without secrets; "" is the defaults
	Suffix  string    // what the names of its devices on the node end in; nearly always ""
	Partial bool      // Config lacks secrets, so that the node cannot make the way again from it
	Leaving bool      // the node needs it no more, and keeps it while peers may
	Data    [2]string // the backend's own data, compact JSON; "" where it has none
	Silent  bool      // the lease does not say what is agreed, as those of flanneld

	Rotation string // why the node has it, where that is a change of private keys: Away, Back or Along; else ""
	Follows  string // keys of peers whose rotation is Away that the node reaches by it: public keys in base64, with spaces between
}

// A node that changes its private key has a way with the new one beside that of the config for a while, and its peers have it too.
const (
	Away  = "away"  // peers are to reach the node by this way, so that the other one can take the new key
	Back  = "back"  // peers are to reach the node by the other way again
	Along = "along" // the node's own key does not change; a peer's does
)

// maxWays is how many ways a lease may have. A node has two while the backend changes, and more only where it changes
// again and again.
const maxWays = 16

// wayWire mirrors one way in Attrs.Ways.
type wayWire struct {
	Type     string
	Agreed   string              `json:",omitempty"`
	Config   json.RawMessage     `json:",omitempty"`
	Suffix   string              `json:",omitempty"`
	Partial  bool                `json:",omitempty"`
	Leaving  bool                `json:",omitempty"`
	Rotation string              `json:",omitempty"`
	Follows  string              `json:",omitempty"`
	Data     *[2]json.RawMessage `json:",omitempty"`
}

// SetWays makes a announce ways, the newest first; there must be one at least. A lease with one way alone says what is
// agreed only where told is set: where it does not follow from the type and the data.
func (a *Attrs) SetWays(ways []Way, told bool) error {
	a.Backend, a.Data, a.Ways = ways[0].Backend, ways[0].Data, ""
	if len(ways) == 1 && !told {
		return nil
	}
	var list []wayWire
	for _, w := range ways {
		x := wayWire{Type: w.Backend, Agreed: w.Agreed, Config: json.RawMessage(w.Config), Suffix: w.Suffix, Partial: w.Partial, Leaving: w.Leaving,
			Rotation: w.Rotation, Follows: w.Follows}
		if w.Data != [2]string{} {
			x.Data = &[2]json.RawMessage{json.RawMessage(w.Data[Inet]), json.RawMessage(w.Data[Inet6])}
			for f := range x.Data {
				if len(x.Data[f]) == 0 {
					x.Data[f] = json.RawMessage("null")
				}
			}
		}
		list = append(list, x)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("write the ways of node %q as JSON: %w", a.Node, err)
	}
	a.Ways = string(text)
	return nil
}

// AllWays returns the ways that a announces, the newest first. Where a says nothing of them, or where somebody else, such
// as flanneld, has changed the backend's type or data since, that is the one way of Backend and Data.
func (a *Attrs) AllWays() ([]Way, error) {
	one := []Way{{Backend: a.Backend, Data: a.Data, Silent: true}}
	if a.Ways == "" {
		return one, nil
	}
	var list []wayWire
	if err := json.Unmarshal([]byte(a.Ways), &list); err != nil {
		return nil, fmt.Errorf("ways %.80q are not a JSON list like [{\"Type\":\"vxlan\"}]: %w", a.Ways, err)
	}
	if len(list) == 0 || len(list) > maxWays {
		return nil, fmt.Errorf("%d ways: want 1 to %d", len(list), maxWays)
	}
	ways := make([]Way, len(list))
	for i, x := range list {
		if x.Type == "" || len(x.Suffix) > 4 {
			return nil, errors.New("a way without a type, or with a suffix of more than 4 bytes")
		}
		ways[i] = Way{Backend: x.Type, Agreed: x.Agreed, Suffix: x.Suffix, Partial: x.Partial, Leaving: x.Leaving, Config: compactJSON(x.Config),
			Rotation: x.Rotation, Follows: x.Follows}
		for f := range Families {
			if x.Data != nil {
				ways[i].Data[f] = compactJSON(x.Data[f])
			}
		}
	}
	if ways[0].Backend != a.Backend || ways[0].Data != a.Data {
		return one, nil
	}
	return ways, nil
}

// CompactWays returns the text of a list of ways as Attrs holds it; null and "" are none. What is in the list is
// looked at when it is used.
func CompactWays(text []byte) (string, error) {
	if !json.Valid(text) && len(bytes.TrimSpace(text)) > 0 {
		return "", fmt.Errorf("%.80q is not JSON", text)
	}
	return compactJSON(text), nil
}

// compactJSON returns valid JSON without white space; null is nothing.
func compactJSON(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return ""
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return ""
	}
	return b.String()
}
