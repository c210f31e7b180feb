package network

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// stage is how far a rotation is: a change of this node's private key for WireGuard, while which it has two devices for each one
// of the config.
type stage string

const (
	noRotation stage = ""
	moving     stage = "moving"    // peers go over to the second devices, which have the new key
	returning  stage = "returning" // the devices of the config have the new key, and peers come back to them
	undoing    stage = "undoing"   // it was given up, and peers come back to the devices of the config with the old key
)

// rotation is what a node has to remember of one, for an agent that is started in the middle of it.
type rotation struct {
	stage  stage
	key    kernel.Key // the new one
	forced time.Time  // since when peers that have not followed are left behind after leaveAfter; zero where all are waited for
}

// leaveAfter is how long peers that could follow have to do so before they are left behind.
const leaveAfter = 30 * time.Second

// rotations is the rotation under way, and how far the peers are with it.
type rotations struct {
	mu   sync.Mutex
	file string // where it is kept
	is   rotation
	far  turning
}

// turning is how far the peers are with a rotation of this node.
type turning struct {
	waiting bool     // it has not begun, because one of another node is not over
	peers   int      // how many there are that use the key
	missing []string // those that have not followed, and why
	awaited int      // how many of these are waited for
}

// RotationStatus is a change of this node's private key under way.
type RotationStatus struct {
	Stage     string   `json:"stage"`     // "waiting" for another node's to end, "moving" peers to the new key, "returning" to the usual devices, or "undoing"
	PublicKey string   `json:"publicKey"` // the new one
	Peers     int      `json:"peers"`     // how many use the key
	Missing   []string `json:"missing"`   // those that have not followed yet, each with the reason
	Forced    bool     `json:"forced"`    // they are left behind after a while
}

// now is the rotation under way; zero where none is.
func (r *rotations) now() rotation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.is
}

// tell notes how far the peers are.
func (r *rotations) tell(t turning) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.far = t
}

// status is what is to be told; nil where there is none.
func (r *rotations) status() *RotationStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.is.stage == noRotation {
		return nil
	}
	s := &RotationStatus{Stage: string(r.is.stage), PublicKey: r.is.public().String(), Peers: r.far.peers, Missing: append([]string{}, r.far.missing...),
		Forced: !r.is.forced.IsZero()}
	if r.far.waiting {
		s.Stage = "waiting"
	}
	return s
}

// set writes a rotation down, and makes it the one under way then. The zero rotation ends it.
func (r *rotations) set(now rotation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.put(now)
}

func (r *rotations) put(now rotation) error {
	if now.stage == noRotation {
		if err := os.Remove(r.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("ending the change of the private key: %w", err)
		}
		r.is, r.far = now, turning{}
		return nil
	}
	text, err := json.Marshal(rotationWire{now.stage, base64.StdEncoding.EncodeToString(now.key[:]), now.forced})
	if err == nil {
		_, err = subnet.WriteFile(r.file, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keeping the change of the private key: %w", err)
	}
	if r.is.stage == noRotation {
		r.far = turning{waiting: true}
	}
	r.is = now
	return nil
}

// rotationWire is how it is written down.
type rotationWire struct {
	Stage      stage
	PrivateKey string
	Forced     time.Time `json:",omitzero"`
}

// load reads what was written down. That there is nothing is not an error.
func (r *rotations) load(file string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file = file
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a change of the private key: %w", err)
	}
	r.is, err = parseRotation(file, text)
	return err
}

// parseRotation reads one. The error says nothing of what was read.
func parseRotation(file string, text []byte) (rotation, error) {
	var w rotationWire
	if err := json.Unmarshal(text, &w); err != nil {
		return rotation{}, fmt.Errorf("%s holds no change of a private key", file)
	}
	if w.Stage != moving && w.Stage != returning && w.Stage != undoing {
		return rotation{}, fmt.Errorf("%s holds a change of a private key at a stage that is not known", file)
	}
	key, err := parseKey(file, w.PrivateKey)
	return rotation{w.Stage, key, w.Forced}, err
}

// public is the public half of the new key.
func (r rotation) public() kernel.PublicKey { return publicOf(r.key) }

// mark is what the lease says of the second devices.
func (r rotation) mark() string {
	switch r.stage {
	case noRotation:
		return subnet.Along
	case moving:
		return subnet.Away
	}
	return subnet.Back
}

// leaves tells whether a peer that has not followed is left behind.
func (r rotation) leaves(x subnet.Lease, now time.Time) bool {
	return !r.forced.IsZero() && (x.Node == "" || now.Sub(r.forced) > leaveAfter)
}
