package backend

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Agreeing is a backend whose nodes must have more in common than its type to reach each other.
type Agreeing interface {
	// Agreed names it, in words: "VNI 1 at port 8472". Nodes with the same words reach each other.
	Agreed() string
}

// Guesser is an Agreeing backend of which the data that nodes announce tell something of what they agreed to.
type Guesser interface {
	// Fits tells whether a node that announces data, and does not say what it agreed to, may have agreed to the same.
	Fits(data [2]string) bool
	// Like returns the Backend object of a backend to which such a node has agreed, so far as data tell; "{}" for the
	// defaults. The receiver's own config has no part in it.
	Like(data [2]string) string
}

// Renamer is a backend that can be there twice on a node, with different agreements, while the one takes the place of the
// other.
type Renamer interface {
	// Renamed returns the backend with a suffix, which is a letter, at the end of its devices' names.
	Renamed(suffix string) Backend
}

// Encrypting is a backend that hides what pods say from the network between the nodes.
type Encrypting interface {
	Encrypts() bool
}

// Agreed names what nodes of b must have in common beside the type; "" where that is nothing.
func Agreed(b Backend) string {
	if a, ok := b.(Agreeing); ok {
		return a.Agreed()
	}
	return ""
}

// Encrypts tells whether b hides what pods say.
func Encrypts(b Backend) bool {
	e, ok := b.(Encrypting)
	return ok && e.Encrypts()
}

// Publish returns the Backend object config in a form that other nodes may see: compact, keys in order, without Type,
// secrets and commands. partial tells whether something is missing, without which the backend is not the same. "" stands for the defaults.
func Publish(config string) (text string, partial bool) {
	var keys map[string]json.RawMessage
	if json.Unmarshal([]byte(config), &keys) != nil {
		return "", strings.TrimSpace(config) != ""
	}
	for k := range keys {
		lower := strings.ToLower(k)
		secret := lower == "psk" || strings.HasSuffix(lower, "command")
		if secret || lower == "type" || bytes.Equal(keys[k], []byte("null")) {
			delete(keys, k)
		}
		partial = partial || secret
	}
	if len(keys) == 0 {
		return "", partial
	}
	out, err := json.Marshal(keys)
	if err != nil {
		return "", true
	}
	return string(out), partial
}
